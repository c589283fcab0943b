# SPDX-License-Identifier: Apache-2.0
"""NVFlare's simulator (processes of one machine) with its FedAvg over NumPy arrays."""

import argparse
import pathlib

import numpy as np
from nvflare.app_common.np.recipes import NumpyFedAvgRecipe
from nvflare.recipe import SimEnv


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--megabytes", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    # One array, whatever the tensors: its recipe has one, and it is the fastest case.
    initial = options.work / "initial.npy"
    np.save(initial, np.full(options.megabytes * 1_000_000 // 4, 1e-3, dtype=np.float32))
    recipe = NumpyFedAvgRecipe(
        name="echo", min_clients=options.clients, num_rounds=options.rounds,
        initial_ckpt=str(initial),
        train_script=str(pathlib.Path(__file__).with_name("nvflare_client.py")))
    recipe.execute(SimEnv(num_clients=options.clients, num_threads=options.clients,
                          workspace_root=str(options.work / "simulator")))


if __name__ == "__main__":
    main()
