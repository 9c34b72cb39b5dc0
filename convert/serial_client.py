"""The host's end of the serial protocol: a device's model as calls that either succeed or say why not.

Whatever is lost or damaged on the line is asked for again, up to a limit and a deadline; no inference runs twice, so a
model that keeps a state stays in step. docs/serial_protocol.md tells the rules.
"""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from convert import serial_protocol as protocol
from convert.emulate import Link
from convert.errors import ToolError
from convert.serial_protocol import Code, Command, Info, ProtocolError, Ran, Region

T = TypeVar("T")

_CHUNK, _LEAST_CHUNK = 1024, 32
_BYTE_SECONDS = 1.5e-4  # what a byte may take at 115,200 baud, with a margin
_LONGEST_ANSWER = 0xFFFF


class DeviceError(ToolError):
    """The device does not answer, answers something else, or refuses."""


class _NoAnswerError(DeviceError):
    """Nothing came that answers the request."""


@dataclass
class Statistics:
    """What happened on the line."""

    requests: int = 0
    repeated: int = 0  # requests that were sent again
    damaged: int = 0  # frames from the device that were damaged


class Refused(Exception):
    """The device's answer is an error frame."""

    def __init__(self, refusal: protocol.Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Client:
    """A device behind a link; `name` is what messages call the port."""

    def __init__(
        self, link: Link, name: str, *, patience: float = 1.0, deadline: float = 60.0, limit: int = 12
    ) -> None:
        """`patience`: seconds until a request is sent again for the first time, twice as many each time.

        `deadline` and `limit`: seconds and attempts after which a request has failed.
        """
        self.link, self.name = link, name
        self.patience, self.deadline, self.limit = patience, deadline, limit
        self.statistics = Statistics()
        self._receiver = protocol.Receiver()
        self._sequence = 0
        self._waiting: list[bytes] = []  # frames that came and were not looked at yet
        self._chunk = _CHUNK
        self._careful = False  # every chunk is answered, since chunks were lost

    def hello(self, seconds: float = 10.0) -> Info:
        """Who is there; waits up to `seconds` for a device that is starting.

        Raises DeviceError where nothing, or something else, answers.
        """
        deadline, self.deadline = self.deadline, seconds
        limit, self.limit = self.limit, 10_000
        patience, self.patience = self.patience, min(0.5, self.patience)
        try:
            return self._request(Command.HELLO, protocol.hello, protocol.info, backoff=1.0)
        except Refused as e:
            raise self._refused(e, "HELLO") from e
        except _NoAnswerError as e:
            raise DeviceError(self._silence(seconds)) from e
        finally:
            self.deadline, self.limit, self.patience = deadline, limit, patience

    def reset(self) -> None:
        """Bring the model's state to its first value; inputs must be written again."""
        try:
            self._request(Command.RESET, protocol.reset, lambda _: None)
        except Refused as e:
            raise self._refused(e, "RESET") from e

    def trace(self, on: bool) -> None:
        """Trace the inferences from now on, or do not; clears the figures. Only where `Flags.TRACES` is set."""
        try:
            self._request(Command.TRACE, lambda k: protocol.trace(k, on), lambda _: None)
        except Refused as e:
            raise self._refused(e, "TRACE") from e

    def infer(self, inputs: bytes, output_bytes: int, *, reset: bool = False, again: bool = True) -> Ran:
        """One inference; the result holds all `output_bytes` of the outputs.

        `reset` brings the model to its first state before it. `again`: whether the inference may be repeated, with the
        reset, where its outputs were lost; False for one that goes on from the state of the one before it, then
        DeviceError says that they were lost.
        """
        for _ in range(self.limit):
            if reset:
                self.reset()
            try:
                return self._run(inputs, output_bytes)
            except Refused as e:
                if e.refusal.code == Code.OUTPUT and again:
                    continue
                raise self._refused(e, "RUN") from e
        raise DeviceError(f"the outputs of an inference were lost on {self.name} {self.limit} times; {_LINE}")

    def ask(self, command: Command, body: bytes = b"") -> bytes:
        """A request of those that replace the weights (convert/split/client.py); its answer without the head.

        Raises DeviceError, with the device's reason, where it refuses.
        """
        try:
            return self._request(command, lambda k: bytes([command, k]) + body, bytes)
        except Refused as e:
            raise self._refused(e, command.name) from e

    def figures(self, count: int) -> bytes:
        """`count` bytes of what a traced inference left."""
        try:
            return self._read(Region.FIGURES, 0, count)
        except Refused as e:
            raise self._refused(e, "READ") from e

    # One inference

    def _run(self, inputs: bytes, output_bytes: int) -> Ran:
        most = min(output_bytes, self._chunk)
        self._write(inputs)
        for _ in range(self.limit):
            try:
                ran = self._request(
                    Command.RUN,
                    lambda k: protocol.run(k, inputs, most),
                    protocol.ran,
                    sent=0 if self._careful else len(inputs),
                )
                break
            except Refused as e:
                if e.refusal.code != Code.INPUT:
                    raise
                # Bytes were lost: from now on in smaller pieces, each of which is answered.
                self._careful, self._chunk = True, max(_LEAST_CHUNK, self._chunk // 4)
                self._write(inputs)
        else:
            raise DeviceError(
                f"{len(inputs)} input bytes did not reach {self.name} whole in {self.limit} tries; {_LINE}"
            )
        rest = self._read(Region.OUTPUTS, len(ran.outputs), output_bytes - len(ran.outputs))
        outputs = ran.outputs + rest
        if zlib.crc32(outputs) != ran.output_crc:
            raise DeviceError(f"the outputs read from {self.name} are not those whose checksum it gave; {_FAULT}")
        return Ran(ran.instructions, ran.microseconds, ran.output_crc, outputs)

    def _write(self, inputs: bytes) -> None:
        for offset in range(0, len(inputs), self._chunk):
            data = inputs[offset : offset + self._chunk]
            if self._careful:
                self._request(Command.PUT, _put(offset, data), lambda _: None)
            else:
                self.link.write(protocol.frame(protocol.write(self._next(), offset, data)))

    def _read(self, region: Region, offset: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._request(
                Command.READ, _get(region, offset + len(data), min(count - len(data), self._chunk)), bytes
            )
            if not part:
                raise DeviceError(f"{self.name} answers READ with nothing; {_FAULT}")
            data += part
        return data

    # Requests

    def _next(self) -> int:
        self._sequence = self._sequence % 255 + 1  # 0 is the sequence of what a device could not read
        return self._sequence

    def _request(
        self,
        command: Command,
        make: Callable[[int], bytes],
        parse: Callable[[bytes], T],
        *,
        sent: int = 0,
        backoff: float = 2.0,
    ) -> T:
        """Send a request until it is answered; `sent`: bytes before it that may still be on their way."""
        sequence = self._next()
        framed = protocol.frame(make(sequence))
        end = time.monotonic() + self.deadline
        wait = self.patience
        self.statistics.requests += 1
        for attempt in range(self.limit):
            self.statistics.repeated += attempt > 0
            self.link.write(framed)
            until = min(end, time.monotonic() + wait + (sent + len(framed)) * _BYTE_SECONDS)
            content = self._answer(command, sequence, until)
            if content is not None:
                return self._parsed(command, parse, content)
            if time.monotonic() >= end:
                break
            wait *= backoff
            sent = 0
        raise _NoAnswerError(
            f"no answer to {command.name} from {self.name} after {attempt + 1} attempts within {self.deadline:g} s"
            f"{self._printed()}; {_LINE}"
        )

    def _parsed(self, command: Command, parse: Callable[[bytes], T], content: bytes) -> T:
        try:
            return parse(content)
        except ProtocolError as e:
            raise DeviceError(
                f"the device on {self.name} answers {command.name} in a way that is not understood: {e}; {_FAULT}"
            ) from e

    def _answer(self, command: Command, sequence: int, until: float) -> bytes | None:
        """What follows the answer's head, or None where none came in time or the device could not read the request."""
        while True:
            while self._waiting:
                content = self._waiting.pop(0)
                found = protocol.body(content, command, sequence)
                if found is not None:
                    return found
                try:
                    refusal = protocol.refusal(content)
                except ProtocolError:
                    continue
                if refusal is None:
                    continue
                if refusal.code == Code.CHECKSUM:
                    # Perhaps of this request; an answer may be behind it all the same.
                    until = min(until, time.monotonic() + min(self.patience, 0.2))
                elif command == Command.HELLO and refusal.code != Code.MODEL:
                    continue  # of a request from before this connection, whatever it was
                elif (refusal.command, refusal.sequence) == (command, sequence):
                    raise Refused(refusal)
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._waiting = self._receiver.feed(self.link.read(left))
            self.statistics.damaged = self._receiver.damaged

    # Messages

    def _refused(self, e: Refused, request: str) -> DeviceError:
        code = e.refusal.code
        if code == Code.MODEL:
            return DeviceError(f"the model failed on {self.name}: {e.refusal.text or 'no reason given'}")
        if code == Code.COMMAND and request in ("SLOTS", "BEGIN", "DATA", "FINISH"):
            return DeviceError(
                f"the firmware on {self.name} holds its weights itself; what takes others is the application `serve` "
                "of python convert/build.py --split-weights"
            )
        if code == Code.REFUSED:
            return DeviceError(f"the device on {self.name} keeps the model it has: {e.refusal.text}")
        if code == Code.OUTPUT:
            return DeviceError(
                f"an answer was lost on {self.name} and the outputs behind it were overwritten; the model keeps a "
                "state, so the inference cannot be repeated: begin the sequence again"
            )
        name = Code(code).name if code in set(Code) else str(code)
        return DeviceError(f"the device on {self.name} refuses {request} with {name}; {_FAULT}")

    def _printed(self) -> str:
        """The last line of text that came between frames: a fault says itself so."""
        lines = self._receiver.text.splitlines()
        return f", and it printed {lines[-1][:100]!r}" if lines else ""

    def _silence(self, seconds: float) -> str:
        text, noise = self._receiver.text, bytes(self._receiver.noise)
        if text:
            line = text.splitlines()[0][:100]
            return (
                f"another firmware runs on {self.name}: it prints {line!r}. What is needed is the application `serve`; "
                f"{_FLASH}"
            )
        if noise or self._receiver.damaged:
            return (
                f"{self.name} sends bytes that are no frames (the last ones: {noise[-16:].hex(' ')}); another "
                "firmware, or another baud rate: see --baud"
            )
        return (
            f"no answer from {self.name} within {seconds:g} s. Is it the board's port, does the application `serve` "
            f"run on it, are TX and RX connected? If not, {_FLASH}"
        )


_LINE = (
    "the line loses too much, or the device has stopped: check cable and baud rate, press reset, run the command again"
)
_FAULT = "firmware and host are of different versions: build and flash it again"
_FLASH = "flash it with: TINYML_APPLICATION=serve pio run -e ENVIRONMENT -t upload"


def _put(offset: int, data: bytes) -> Callable[[int], bytes]:
    return lambda k: protocol.write(k, offset, data, answered=True)


def _get(region: Region, offset: int, count: int) -> Callable[[int], bytes]:
    return lambda k: protocol.read(k, region, offset, min(count, _LONGEST_ANSWER))
