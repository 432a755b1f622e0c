"""What the processes of `test_distributed` train, and how they are stopped, fail and go on; run by each of them."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file

import sae.initial
import sae.preactivations
from sae import InsightError, Job, SaeConfig, TensorSource, TrainConfig, train, train_many
from sae.distributed import leave, ranks_of
from sae.learner import Learner
from sae.preactivations import Preactivations
from sae.selection import BatchTopK, TopK
from sae.weights import Weights

from .test_trainer import Interrupting, log_of, sparse_features

CPU = torch.device("cpu")
DIM, BATCH = 16, 257
DEAD = {"dead_after_tokens": 1200, "threshold_start_step": 5}
FRACTIONS = (0.05, 0.1, 0.25, 0.6)


def case(parallel, selection="batch_topk", m=501, k=2, steps=12, level_k=(), **settings):
    config = SaeConfig(DIM, m, k, fractions=FRACTIONS, selection=selection, level_k=level_k)
    return parallel, config, TrainConfig(steps, BATCH, lr=1e-3, **{**DEAD, **settings})


CASES = {
    "data batch_topk": case("data", steps=30),
    "data topk": case("data", "topk", steps=30),
    "data k by level": case("data", k=5, level_k=(1, 1, 1, 2), accumulate=2),
    "data topk nested k": case("data", "topk", k=3, nested_k=(1, 3)),
    "data jumprelu": case("data", "jumprelu", m=64, k=4),
    "data relu": case("data", "relu", m=64, k=4),
    "data gated": case("data", "gated", m=64, k=4),
    "data in parts": case("data", accumulate=2),
    "data resampled": case("data", revival="resample", resample_steps=7),
    "data normalised": case("data", normalised_loss=True, random_prefixes=3, k=4, k_start=8, k_anneal_steps=9),
    "data archetypal": case("data", dictionary="archetypal", n_archetypes=BATCH, m=64, k=3),
    "concepts batch_topk": case("concepts", steps=30),
    "concepts topk": case("concepts", "topk", steps=30),
    "concepts in parts": case("concepts", accumulate=2, k_start=4, k_anneal_steps=9),
    "concepts random prefixes": case("concepts", "topk", random_prefixes=3, empty_prefix=True, normalised_loss=True),
    "concepts few": case("concepts", m=20, k=12),
}
CASES_OF_THREE = ("data topk", "concepts batch_topk", "concepts few")
SHARED_CASES = ("data batch_topk", "data in parts", "data resampled", "data archetypal")
SHARED_CASES_OF_THREE = ("data batch_topk",)
OWN_ROWS = {2: (128, 129), 3: (85, 86, 86)}
"""Of a batch, by number of processes."""
UNEVEN = {  # parts of uneven rows are other parts, which TopK alone does not see
    "batch_topk": (CASES["data batch_topk"][1], TrainConfig(8, BATCH, **DEAD)),
    "topk in parts": (CASES["data topk"][1], TrainConfig(8, BATCH, accumulate=2, revival="none")),
}
HELD = SaeConfig(DIM, 128, 4, fractions=(0.05, 0.2, 0.75)), TrainConfig(100, 512, lr=3e-3)
SELECTIONS = [
    (rule, k, shape, shift)
    for rule in ("batch_topk", "topk")
    for k, shape, shift in ((1, (129, 40), 0.0), (5, (3, 2000), 0.0), (5, (50, 7), -1.5), (2, (64, 30), -9.0))
]
CUTS = (None, "carried", 1e9, 0.0)


def features(seed):
    return sparse_features(torch.Generator().manual_seed(seed), n=4096, dim=DIM)


class Own(Interrupting):
    """A share, which notes what is read of it."""

    def batches(self, batch_size, *, seed, start_step=0):
        self.read = []
        for batch in super().batches(batch_size, seed=seed, start_step=start_step):
            self.read.append(batch)
            yield batch


class Dealt(TensorSource):
    """Rank r of w reads the tokens r, r + w, ...; the second process is interrupted at a step."""

    def __init__(self, features, at=-1):
        super().__init__(features)
        self.at = at

    def share(self, rank, world):
        self.own = Own(self.features[rank::world], self.at if rank == 1 else -1)
        return self.own

    def batches(self, batch_size, *, seed, start_step=0):
        raise AssertionError("read whole")


class PutTogether(TensorSource):
    """The batches that `processes` read of `Dealt`, for one process, whose parts of a batch are those of the others."""

    def __init__(self, features, processes, parts):
        super().__init__(features)
        self.processes, self.parts = processes, parts

    def batches(self, batch_size, *, seed, start_step=0):
        shares = [TensorSource(self.features[rank :: self.processes]) for rank in range(self.processes)]
        sizes = OWN_ROWS[self.processes]
        own = [share.batches(n, seed=seed, start_step=start_step) for share, n in zip(shares, sizes, strict=True)]
        for batches in zip(*own):
            split = [batch.tensor_split(self.parts) for batch in batches]
            yield torch.cat([part for parts in zip(*split) for part in parts])


def numbers(seed, index, shape, shift):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + index)) + shift


def joined(part, folder, seed, rank, size):
    """What one of `size` processes does: `part`, when it has met the others."""
    torch.set_num_threads(1)
    in_float32()
    meeting = f"file://{folder}/meeting-{part.__name__}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    part(folder, seed)
    leave()


def in_float32():
    """AuxK in bfloat16 would show the order of sums in its last bits."""
    sae.preactivations.multiplies_bfloat16_fast = lambda device: False


def equal(folder, seed):
    size = dist.get_world_size()
    for parallel in ("data", "concepts"):
        names = [name for name in (CASES if size == 2 else CASES_OF_THREE) if CASES[name][0] == parallel]
        jobs = [Job(*CASES[name][1:], folder / name) for name in names]
        trained = train_many(TensorSource(features(seed)), jobs, progress=False, parallel=parallel)
        assert [len(sae.encoder) for sae in trained] == [job.config.n_concepts for job in jobs]
        select(folder / parallel, seed, parallel)
    shared(folder, seed, SHARED_CASES if size == 2 else SHARED_CASES_OF_THREE)
    if size == 2:
        interrupted(folder, seed)
        failing(folder, seed)
        uneven(folder, seed)


def shared(folder, seed, names):
    """All read shares of their own."""
    source, rank = Dealt(features(seed)), dist.get_rank()
    train_many(source, [Job(*CASES[name][1:], folder / "shared" / name) for name in names], progress=False)
    epoch = torch.cat(source.own.read)[: source.own.n_tokens]
    save_file({"epoch": epoch}, folder / "shared" / f"{rank}.safetensors")
    if len(names) > 1:
        _, config, run = CASES["data batch_topk"]
        for name, at in (("parts", 11), ("left", 3)):
            with pytest.raises(KeyboardInterrupt):
                train(Dealt(features(seed), at), config, run, folder / "shared" / name, progress=False)
            assert len(log_of(folder / "shared" / name)) == at + 1
        train(source, config, run, folder / "shared" / "parts", progress=False)
        train(Dealt(held_features(seed)[:8192]), *HELD, folder / "shared" / "held", progress=False)


def held_features(seed):
    return sparse_features(torch.Generator().manual_seed(seed), n=12_288, dim=DIM)


def uneven(folder, seed):
    """The first process has few rows of each batch, and ever fewer."""
    rank = dist.get_rank()
    for name, settings in UNEVEN.items():
        parts = [(batch[: 40 - step], batch[40 - step :]) for step, batch in enumerate(steps_of(seed))]
        weights, rows = learnt(settings, [own[rank] for own in parts], ranks_of("data", CPU))
        save_file(weights, folder / f"uneven {name} {rank}.safetensors")
        (folder / f"uneven {name} {rank}.json").write_text(json.dumps(rows))


def steps_of(seed):
    return features(seed)[: 8 * BATCH].split(BATCH)


def learnt(settings, batches, *ranks):
    """Weights and reports after a few steps."""
    learner = Learner.start(*settings, batches[0], *ranks)
    rows = [learner.step(batch).row() for batch in batches]
    return learner.optimiser.weights._asdict(), rows


def select(folder, seed, parallel):
    """Each process chooses among its share of the same numbers, with cuts from a good one to a useless one."""
    ranks, found = ranks_of(parallel, CPU), {}
    for index, (name, k, shape, shift) in enumerate(SELECTIONS):
        rule = {"batch_topk": BatchTopK, "topk": TopK}[name](k)
        rule.ranks = ranks
        pre = numbers(seed, index, shape, shift)
        tokens, concepts = ranks.tokens.share(shape[0]), ranks.concepts.share(shape[1])
        m = concepts.stop - concepts.start
        for cut in CUTS:
            rule.cut = rule.cut if cut == "carried" else cut
            weights = Weights(torch.eye(shape[1])[concepts], torch.zeros(m, shape[1]), torch.zeros(m), torch.zeros(1))
            found[f"{index} {cut}"] = rule(Preactivations(weights, pre[tokens])).dense()
    folder.mkdir(exist_ok=True)
    save_file(found, folder / f"{ranks.everyone.rank}.safetensors")


class StoppedInOne(Interrupting):
    """Sends SIGINT to the second process alone."""

    def __init__(self, features, at):
        super().__init__(features, at if dist.get_rank() == 1 else -1)


def interrupted(folder, seed):
    for name in ("data batch_topk", "concepts topk"):
        parallel, config, run = CASES[name]
        own = {"progress": False, "parallel": parallel}
        with pytest.raises(KeyboardInterrupt):
            train(StoppedInOne(features(seed), at=11), config, run, folder / "parts" / name, **own)
        assert len(log_of(folder / "parts" / name)) == 12
        with pytest.raises(KeyboardInterrupt):
            train(StoppedInOne(features(seed), at=3), config, run, folder / f"{parallel} left", **own)
        train(TensorSource(features(seed)), config, run, folder / "parts" / name, **own)


class BrokenInOne(TensorSource):
    def batches(self, batch_size, *, seed, start_step=0):
        for step, batch in enumerate(super().batches(batch_size, seed=seed, start_step=start_step)):
            if step == 5 and dist.get_rank() == 1:
                raise OSError("the disk is gone")
            yield batch


def failing(folder, seed):
    """Every failure ends the call in all processes; they are still together afterwards."""
    messages = []

    def attempt(source, name, **changed):
        parallel, config, run = CASES[name]
        try:
            out = changed.pop("out", folder / "failing" / f"{len(messages)}")
            train(source, changed.get("config", config), run, out, progress=False, parallel=parallel)
        except (InsightError, OSError) as error:
            messages.append(f"{type(error).__name__}: {error}")

    x = features(seed)
    attempt(BrokenInOne(x), "data topk")
    attempt(TensorSource(torch.full_like(x, torch.nan)), "concepts topk")
    attempt(TensorSource(x), "concepts topk", config=CASES["data gated"][1])
    attempt(
        TensorSource(x),
        "concepts topk",
        out=folder / "data batch_topk" if dist.get_rank() == 1 else folder / "new",
    )
    (folder / f"messages-{dist.get_rank()}.json").write_text(json.dumps(messages))


class Dying(TensorSource):
    """The second process is killed at step 8."""

    def batches(self, batch_size, *, seed, start_step=0):
        for step, batch in enumerate(super().batches(batch_size, seed=seed, start_step=start_step), start_step):
            if step == 8 and dist.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def killed(folder, seed, source=Dying):
    parallel, config, run = CASES["concepts few"]
    run = replace(run, checkpoint_seconds=0.0)
    train(source(features(seed)), config, run, folder / "out", progress=False, parallel=parallel)


def gone_on(folder, seed):
    killed(folder, seed, TensorSource)
