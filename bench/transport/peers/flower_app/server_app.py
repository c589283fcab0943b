# SPDX-License-Identifier: Apache-2.0
"""FedAvg; notes when each round begins, and when the last one has ended."""

import time

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    """FedAvg with a line in a file at the beginning of each round."""

    def __init__(self, times, clients):
        super().__init__(fraction_evaluate=0, min_train_nodes=clients, min_evaluate_nodes=0,
                         min_available_nodes=clients)
        self.times = times

    def configure_train(self, server_round, arrays, config, grid):
        note(self.times)
        return super().configure_train(server_round, arrays, config, grid)


def note(times):
    with open(times, "a", encoding="utf-8") as file:
        file.write(f"{time.time()}\n")


@app.main()
def main(grid, context):
    config = context.run_config
    values = config["megabytes"] * 1_000_000 // 4 // config["tensors"]
    arrays = [np.full(values, 1e-3, dtype=np.float32) for _ in range(config["tensors"])]
    Timed(config["times"], config["clients"]).start(
        grid=grid, initial_arrays=ArrayRecord(arrays), num_rounds=config["rounds"])
    note(config["times"])
