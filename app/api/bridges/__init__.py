"""Other protocols, translated to the functions of `/v1`: their clients get the same numbers, to the last bit."""
