"""What the engine slurm submits, and how it reads what Slurm says: no Slurm is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headwater.engines import batch, controller
from headwater.engines.batch import Wanted
from headwater.engines.controller import Task
from headwater.errors import InputError


def test_a_script_says_what_was_asked_and_nothing_else() -> None:
    options = {
        "partition": "gpu,big",
        "account": "vision-1",
        "qos": "normal",
        "gpus": "a100:1",
        "cpus": "6",
        "mem": "32G",
        "constraint": "a100&(nvlink|ib)",
        "nodelist": "node[01-04]",
        "exclude": "node05",
        "max-at-once": "2",
        "workers-per-job": "2",
        "setup": "module load cuda; source 'my venv/bin/activate'",
        "python": "/a b/python",
    }
    wanted = Wanted.of(options, {}, "cuda")
    words = ["worker", "/a store/$HOME", "--study", "it's; rm -rf.json", "--engine-id", batch.PLACE]
    text = batch.script(
        "it's; rm -rf", words, wanted, count=4, time_s=3601.0, logs=Path("/a store/100%/logs")
    )
    asked = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert asked == [
        "#SBATCH --job-name=headwater-it-s--rm--rf",
        "#SBATCH --array=0-3%2",
        "#SBATCH --requeue",
        "#SBATCH --signal=B:USR1@60",
        "#SBATCH --open-mode=append",
        '#SBATCH --output="/a store/100%%/logs/slurm-%A_%a.log"',
        "#SBATCH --time=1:01:00",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --partition=gpu,big",
        "#SBATCH --account=vision-1",
        "#SBATCH --qos=normal",
        "#SBATCH --gpus=a100:1",
        "#SBATCH --mem=32G",
        "#SBATCH --constraint=a100&(nvlink|ib)",
        "#SBATCH --nodelist=node[01-04]",
        "#SBATCH --exclude=node05",
    ]
    lines = text.splitlines()
    assert lines.index(options["setup"]) > lines.index(asked[-1])
    assert lines[-1].startswith("exec '/a b/python' -P -m headwater worker '/a store/$HOME'")
    echo = lines[-1].replace("exec '/a b/python'", "printf '%s\\n'")
    numbers = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    said = subprocess.run(
        ["bash", "-c", echo], capture_output=True, text=True, check=True, env=numbers
    )
    assert said.stdout.splitlines()[3:] == [*words[:-1], "slurm-12_3", "--workers", "2"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("partition", "gpu --wrap=x"),
        ("partition", "gpu\n#SBATCH --uid=0"),
        ("partition", ""),
        ("account", "a;rm"),
        ("qos", "$(id)"),
        ("gres", "gpu:1 --x"),
        ("gpus", "all"),
        ("cpus", "0"),
        ("cpus", "1 2"),
        ("mem", "16GB of it"),
        ("time", "tomorrow"),
        ("time", "1:2:3:4"),
        ("constraint", "a b"),
        ("constraint", '"'),
        ("nodelist", "/etc/passwd"),
        ("exclude", "-x"),
        ("max-at-once", "-1"),
        ("workers-per-job", "two"),
        ("setup", "true\nfalse"),
        ("setup", " "),
        ("python", "py\x1bthon"),
    ],
)
def test_a_value_that_a_script_would_read_otherwise_is_refused(option: str, value: str) -> None:
    with pytest.raises(InputError, match=f"--engine-option {option}="):
        Wanted.of({option: value}, {}, "cpu")


def test_every_option_has_a_meaning_and_a_form() -> None:
    assert set(batch.OPTIONS) == {*batch._FORMS, "setup", "python"}


def test_sbatch_s_own_variables_count_as_options_and_are_kept_from_it() -> None:
    said = {"SBATCH_PARTITION": "main", "SBATCH_TIMELIMIT": "20", "SBATCH_GRES": "gpu:2"}
    wanted = Wanted.of({"partition": "short", "gpus": "1"}, said, "auto")
    assert wanted.options == {"partition": "short", "time": "20", "gpus": "1"}
    given = {**said, "SQUEUE_STATES": "RUNNING", "SCANCEL_INTERACTIVE": "1", "HOME": "/"}
    assert controller._environment(given | {"SBATCH_EXPORT": "ALL"}) == {
        "HOME": "/",
        "SBATCH_EXPORT": "ALL",
    }


def test_a_gpu_is_asked_for_where_one_is_wanted() -> None:
    assert Wanted.of({}, {}, "cuda").options["gres"] == "gpu:1"
    assert Wanted.of({}, {}, "cuda").cpus == 4
    assert Wanted.of({"gpus": "1"}, {}, "auto").device == "cuda"
    assert Wanted.of({"workers-per-job": "3"}, {}, "auto").cpus == 3
    assert Wanted.of({"workers-per-job": "3"}, {}, "cuda").gpus == "gpu:1"  # they share it
    together = Wanted.of({"gpus-per-arm": "4"}, {}, "cuda")
    assert (together.gpus, together.cpus, together.ranks) == ("gpu:4", 16, 4)
    assert Wanted.of({"gpus-per-arm": "2"}, {}, "auto").gpus == "gpu:2"
    assert Wanted.of({"gpus-per-arm": "2", "gpus": "a100:2"}, {}, "auto").gpus == "a100:2"
    assert Wanted.of({"gpus-per-arm": "2"}, {}, "cpu").gpus is None
    for said in ({"gres": "gpu:1"}, {"gres": "gpu:a100"}, {"gpus": "4"}, {"gres": "tmp:2,gpu:1"}):
        with pytest.raises(InputError, match="gpus-per-arm=2 needs 2"):
            Wanted.of({"gpus-per-arm": "2", **said}, {}, "cuda")
    with pytest.raises(InputError, match="a job has one worker"):
        Wanted.of({"gpus-per-arm": "2", "workers-per-job": "2"}, {}, "cuda")
    assert Wanted.of({}, {}, "auto").gpus is None
    with pytest.raises(InputError, match="gres and gpus say the same"):
        Wanted.of({"gpus": "1", "gres": "gpu:1"}, {}, "cuda")


def test_times_are_read_as_slurm_means_them() -> None:
    said = {
        "90": 5400,
        "1:30": 90,
        "4:00:00": 14400,
        "2-12": 216000,
        "1-00:30": 88200,
        "1-02:03:04": 93784,
        "UNLIMITED": None,
        "INVALID": None,
        "": None,
    }
    assert {text: controller.seconds(text) for text in said} == said
    for seconds in (600, 3600, 86400, 90061):
        again = controller.seconds(batch.clock(seconds))
        assert again is not None and 0 <= again - seconds < 60


def test_the_time_that_is_asked_follows_from_the_costs_within_the_partition_s_limit() -> None:
    wanted = Wanted.of({}, {}, "cpu")
    assert wanted.time_s(1.0, None) == (600.0, "by the plan's costs")
    assert wanted.time_s(1000.0, None) == (3000.0, "by the plan's costs"), "three times as much"
    assert wanted.time_s(1000.0, 1800.0) == (1800.0, "all that the partition gives")
    said = Wanted.of({"time": "2:00:00"}, {}, "cpu")
    assert said.time_s(0.0, None) == (7200.0, "as asked")
    with pytest.raises(InputError, match=r"lets a job take 0:30:00 at most"):
        said.time_s(0.0, 1800.0)
    with pytest.raises(InputError, match=r"less than 3 minutes"):
        Wanted.of({"time": "2"}, {}, "cpu").time_s(0.0, None)
    with pytest.raises(InputError, match=r"too little to do anything"):
        wanted.time_s(1.0, 60.0)


def test_a_store_whose_path_slurm_cannot_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"use a store elsewhere"):
        batch._pattern(Path('/a "store"'))


def test_answers_of_squeue_are_read_whatever_else_it_says() -> None:
    text = (
        "CLUSTER: big\n12_0|RUNNING|node1|1-00:00:00|None\n12_[3-5%2]|PENDING||10:00|Reso|urces\n"
        "13|RUNNING|n|INVALID|None\n99_0|RUNNING|n|1:00|None\nbroken\n"
    )
    assert list(controller._tasks(text, {12, 13})) == [
        Task(12, 0, "RUNNING", "node1", 86400.0, "None"),
        Task(12, None, "PENDING", "", 600.0, "Reso|urces"),
        Task(13, None, "RUNNING", "n", None, "None"),
    ]
