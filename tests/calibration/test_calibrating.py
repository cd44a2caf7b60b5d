"""Calibration from its design to its answer, on simulated servers of which all is known, and on a queue in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import qtune
from qtune.calibration.answer import Calibrated
from qtune.calibration.calibrating import calibrated
from qtune.calibration.design import Designer, expense_of, is_saturated
from qtune.calibration.place import place_of
from qtune.calibration.runs import Runs
from qtune.calibration.settings import IDLE
from qtune.conditions import Account, Conditions
from qtune.errors import InputError, ProviderFailure
from qtune.providers import ProviderModel, dump_model, load_model
from qtune.result import Result, same_rows
from qtune.scenario import Scenario
from qtune.simulation import simulate
from qtune.ui import cli

SERVERS = {"quick": (0.1, 0.1, 0), "usual": (1.0, 1.0, 0), "slow": (30.0, 30.0, 0)} | {
    "slow to send to": (30.0, 0.2, 0),
    "narrow": (2.0, 2.0, 1),
}
"""Servers like SQS, by how much slower sends and other calls are than those of the model that is known before, and how
many calls they serve at once; the last works on each for 15 ms, and so cannot do what its calls alone would allow."""


class SimulatedServer(Runs):
    """Runs on a simulated server, whose model is known."""

    def __init__(self, model: ProviderModel, folder: Path, kept: Path | None = None) -> None:
        self.path = folder / f"{model.name}.yaml"
        self.path.write_text(dump_model(model), encoding="utf-8")
        self.scenarios: list[Scenario] = []
        place = place_of(model.provider, endpoint="http://127.0.0.1:9")
        super().__init__(place, kept, lambda now: None, 0.0)

    def measured(self, scenario: Scenario) -> Result:
        """As that server would do it, with the scenario as it was asked for."""
        self.scenarios.append(scenario)
        found = simulate(scenario.with_(model=str(self.path)), seed=scenario.seed)
        return replace(found, scenario=scenario)


def server(send: float = 1.0, others: float = 1.0, at_once: int = 0) -> ProviderModel:
    """The model of a server so many times as slow, which looks for messages every 50 ms."""
    known = load_model("sqs").model_dump(by_alias=True)

    def call(op: str) -> dict[str, object]:
        return {"family": "lognormal", "mean_s": 0.01 * (send if op == "send" else others), "cv": 0.3}

    latency = {op: {**its, "time": call(op)} for op, its in known["latency"].items()}
    service = {**known["broker"]["call_service"], "time": {"family": "constant", "mean_s": 0.015}}
    looking = {"every_s": 0.05, "prior": False, "source": "made up", "as_of": known["as_of"]}
    broker = {"long_poll": looking, "calls_served_at_once": at_once, "call_service": service}
    return ProviderModel(
        **{**known, "name": "server", "latency": latency, "broker": {**known["broker"], **broker}}
    )


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """A calibration against the usual server."""
    folder = tmp_path_factory.mktemp("usual")
    return calibrated(SimulatedServer(server(), folder), "mine", run_s=10.0, held_out=9)


@pytest.mark.parametrize("habits", SERVERS.values(), ids=SERVERS)
def test_the_rates_follow_from_the_server(habits: tuple[float, float, int], tmp_path: Path) -> None:
    """However slow its calls are, the idle and the moderate runs keep up and the saturating ones do not."""
    runs = SimulatedServer(server(*habits), tmp_path)
    found = Designer(runs, run_s=10.0).fitted_runs()
    kept_up = {run.scenario.name.split("-")[0]: is_saturated(run) for run in found[1:4]}
    assert kept_up == {"idle": False, "moderate": False, "batches": False}
    assert all(is_saturated(run) for run in found[4:])
    assert sum(len(run.messages) for run in found) >= 150


def test_a_model_that_is_right_predicts_what_it_has_not_seen(usual: Calibrated) -> None:
    """Against a server that is just what models can be, the errors are those of chance, and all bars are met."""
    report = qtune.describe(usual)
    assert report.good is True, report.verdict
    made = usual.calibration
    assert sum(not run.saturated for run in made.held_out) == 8
    assert made.worst("throughput", saturated=True) < 0.05
    calls = usual.model.call_model()  # a part of a call may be taken for work of the broker
    served_s = calls.call_service.mean if calls.calls_served_at_once else 0.0
    assert calls.send.mean + served_s == pytest.approx(0.01, rel=0.1)
    names = {run.name for run in made.held_out}
    assert set(usual.to_frame()["setting"]) == names
    assert made.held_out[0].setting in usual._repr_mimebundle_()["text/html"]


def test_a_calibrated_model_is_written_and_read(usual: Calibrated, tmp_path: Path) -> None:
    """The file holds everything to the digit, says what is not known, and answers with it name no priors of calls."""
    path = qtune.export(usual, tmp_path / "mine.yaml")
    assert load_model(path) == usual.model
    assert not {"send", "receive", "settle"} & usual.model.priors("boto3")
    assert "latency.renew" in {its.name for its in usual.calibration.parameters if not its.identified}
    text = json.dumps(qtune.describe(usual).data, allow_nan=False)
    assert json.loads(text)["errors"]["p95"]["worst"] == pytest.approx(usual.model.margins["p95"])


def test_runs_are_kept_and_go_on(tmp_path: Path) -> None:
    """A calibration that was broken off measures only what is missing, and reads the others as they were."""
    kept, known = tmp_path / "runs", server()
    first = SimulatedServer(known, tmp_path, kept)
    found = Designer(first, run_s=4.0).fitted_runs()
    (kept / "batches.npz").unlink()
    again = SimulatedServer(known, tmp_path, kept)
    both = zip(Designer(again, run_s=4.0).fitted_runs(), found, strict=True)
    assert [same_rows(one, other) for one, other in both] == [None] * len(found)
    assert [scenario.name for scenario in again.scenarios] == ["batches"]
    with pytest.raises(InputError, match="another calibration"):
        Designer(SimulatedServer(known, tmp_path, kept), run_s=5.0).fitted_runs()
    elsewhere = replace(first.place, endpoint="http://10.0.0.9:1")
    with pytest.raises(InputError, match="another server"):
        Runs(elsewhere, kept, lambda now: None, 0.0)


def test_a_run_in_which_nothing_is_done_is_no_evidence(tmp_path: Path) -> None:
    """A server that hands out nothing has failed, and its run is not kept, so that the next try measures it anew."""
    kept = tmp_path / "runs"
    runs = SimulatedServer(server(others=4000.0), tmp_path, kept)
    with pytest.raises(ProviderFailure, match="none was completed"):
        Designer(runs, run_s=4.0).fitted_runs()
    assert not list(kept.glob("*.npz"))


class SharedMachine(SimulatedServer):
    """A server on a machine that others leave alone after a while."""

    def measured(self, scenario: Scenario) -> Result:
        """The first tries are on a machine that is too busy."""
        busy = 1.0 if len(self.scenarios) < 2 else 0.3
        nothing = Account(sent=0, completed=0, completed_twice=0, unanswered=0, left=None)
        seen = Conditions(
            machine="", clock_error_s=0.0, utilization=((0.0, busy),), late_s_p95=0.0, account=nothing
        )
        return replace(super().measured(scenario), conditions=seen)


def test_a_run_on_a_machine_that_was_too_busy_is_made_again(tmp_path: Path) -> None:
    """What others did at the time is no reason to go on without the run; the one on an idle machine is kept."""
    runs = SharedMachine(server(), tmp_path, tmp_path / "runs")
    scenario = runs.place.scenario(IDLE, rate_per_s=5.0, horizon_s=4.0, warm_up_s=0.0, senders=4, seed=1)
    assert runs(scenario).conditions == Result.load(tmp_path / "runs" / "idle.npz").conditions
    assert len(runs.scenarios) == 3
    assert not Result.load(tmp_path / "runs" / "idle.npz").conditions.too_busy


def test_what_it_costs_is_known_before() -> None:
    """Nobody is paid on this machine; the provider's servers cost by its prices, and longer runs cost more."""
    here = place_of("sqs", endpoint="http://localhost:4566")
    cloud = place_of("sqs")
    usual, longer = (expense_of(cloud, run_s=run_s, held_out=9, noise=False) for run_s in (10.0, 100.0))
    assert expense_of(here, run_s=10.0, held_out=9, noise=False).usd == 0.0
    assert 0.0 < usual.usd < longer.usd < 1.0
    assert longer.messages == pytest.approx(10 * usual.messages, rel=1e-3)
    premium = place_of("servicebus", endpoint="orders.servicebus.windows.net", tier="premium")
    assert expense_of(premium, run_s=10.0, held_out=9, noise=True).usd > 0.0


def test_no_address_brings_credentials_into_a_model() -> None:
    """What an address says of users and keys is in no name of the server."""
    place = place_of("sqs", endpoint="https://user:secret@queues.example:9324/x?key=secret")
    assert place.server == "queues.example"
    assert place_of("servicebus", endpoint="127.0.0.1:5672").server == "a server on this machine"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"provider": "kafka", "name": "x"}, "sqs, servicebus, memory"),
        ({"provider": "memory", "name": "sqs"}, "shipped"),
        ({"provider": "memory", "name": "a/b"}, "a word"),
        ({"provider": "memory", "name": "x", "endpoint": "http://localhost"}, "nowhere else"),
        ({"provider": "memory", "name": "x", "run_s": 0.1}, "0.5 s"),
        ({"provider": "memory", "name": "x", "held_out": 10}, "1 to 9"),
        ({"provider": "servicebus", "name": "x", "client": "azure-processor"}, "a client for Python"),
        ({"provider": "servicebus", "name": "x", "tier": "basic"}, "standard and premium"),
        ({"provider": "sqs", "name": "x", "tier": "premium"}, "only Service Bus"),
    ],
)
def test_questions_that_cannot_be_asked(fields: dict[str, object], said: str) -> None:
    """Each is refused before anything is measured, with the next step."""
    with pytest.raises(InputError, match=said):
        qtune.calibrate(**fields)  # type: ignore[arg-type]


def test_the_whole_command_on_a_queue_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It measures, fits, predicts, measures what it predicted, and writes the model and the figure."""
    monkeypatch.chdir(tmp_path)
    command = ["calibrate", "--provider", "memory", "--name", "mine", "--run-time", "0.5", "--held-out", "2"]
    code = cli.run([*command, "--busiest", "1.1", "--json", "--figure", "figure.html"])
    data = json.loads(capsys.readouterr().out)
    assert code in (0, 1), "whether it predicts well depends on how busy the machine is"
    assert data["model"] == "models/mine.yaml"
    assert {point["setting"] for point in data["curves"]["points"]} == {"h1", "h2"}
    model = load_model("mine")
    assert model.calibration is not None
    assert model.calibration.server == "this process"
    assert "plotly" in (tmp_path / "figure.html").read_text(encoding="utf-8")
    assert cli.run(command) == 2
    assert "models/mine.yaml exists" in capsys.readouterr().err


def test_servers_that_cost_money_are_asked_for(tmp_path: Path) -> None:
    """Without --yes, and with nobody to ask, nothing is sent to a cloud; the message says what it would cost."""
    done = subprocess.run(
        [sys.executable, "-m", "qtune", "calibrate", "--provider", "sqs"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "$" in done.stderr
    assert "--yes" in done.stderr
    assert list(tmp_path.iterdir()) == []
