# SPDX-License-Identifier: Apache-2.0
"""Sends back what it gets, and notes when each round has come."""

import os
import time

import nvflare.client as flare


def main():
    flare.init()
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        with open(os.environ["BENCH_TIMES"], "a", encoding="utf-8") as file:
            file.write(f"{model.current_round} {time.time()}\n")
        flare.send(flare.FLModel(params=model.params, params_type=flare.ParamsType.FULL,
                                 meta={"NUM_STEPS_CURRENT_ROUND": 1}))


if __name__ == "__main__":
    main()
