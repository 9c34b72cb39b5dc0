*** Comments ***
renode-test --variable IMAGE:/path/to/firmware.elf --variable ANSWER:<hex of vector 0's output> nano33.robot

*** Settings ***
Suite Setup       Setup
Suite Teardown    Teardown
Test Teardown     Test Teardown
Resource          ${RENODEKEYWORDS}

*** Variables ***
${SCRIPT}         ${CURDIR}/../../../firmware/renode/nano33.resc
${UART}           sysbus.uart0

*** Test Cases ***
The Image Answers Every Vector
    Execute Command           $image=@${IMAGE}
    Execute Script            ${SCRIPT}
    Create Terminal Tester    ${UART}    timeout=120
    Start Emulation
    Wait For Line On Uart     \#tinyml 1 board=nano33
    Wait For Line On Uart     \#vector 0 ${ANSWER}
    Wait For Line On Uart     \#done
