/* None of the instructions that GCC 10 brought. */
