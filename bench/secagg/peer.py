#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Flower's SecAgg+ functions, called as its client's mod calls them; prints JSON.

One client's masks over a vector of int64 (its quantised form), the bytes it uploads, and a
secret of 32 bytes shared among a cohort and rebuilt. Its generator is NumPy's Mersenne
Twister behind a seed folded to 32 bits: fast masks are not all that is compared.
"""

import argparse
import json
import time

import numpy as np
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import (parameters_addition,
                                                                parameters_mod)
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

MOD_RANGE = 1 << 32


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def mask(vector, count):
    """What the mod does with each of its masks."""
    for number in range(count):
        noise = pseudo_rand_gen(number.to_bytes(32, "little"), MOD_RANGE, [vector[0].shape])
        vector = parameters_addition(vector, noise)
    return parameters_mod(vector, MOD_RANGE)


def share_and_rebuild(clients, threshold):
    secret = bytes(range(32))
    shares = create_shares(secret, threshold, clients)
    if combine_shares(shares[:threshold]) != secret:
        raise ValueError("the shares do not give the secret")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, required=True)
    parser.add_argument("--masks", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--threshold", type=int, required=True)
    options = parser.parse_args()
    vector = [np.ones(options.elements, dtype=np.int64)]
    mask_s, masked = seconds(lambda: mask(vector, options.masks))
    shamir_s, _ = seconds(lambda: share_and_rebuild(options.clients, options.threshold))
    print(json.dumps({"mask_s": mask_s, "wire_bytes": len(ndarray_to_bytes(masked[0])),
                      "shamir_s": shamir_s}))


if __name__ == "__main__":
    main()
