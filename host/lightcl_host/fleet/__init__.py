"""The server of boards that learn from each other: it keeps what each shared and hands it on."""
