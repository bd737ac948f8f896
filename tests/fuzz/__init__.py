"""Random bytes through the sidecar: requests of clients, and answers of the server behind. Seeds are printed.

`AP_TEST_FUZZ=full` runs many, `AP_TEST_FUZZ=random` as many new ones, `AP_TEST_FUZZ=1234` replays that seed.
"""

VARIABLE = "AP_TEST_FUZZ"
