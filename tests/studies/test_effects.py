"""What the profile `quick` is for: networks that have learnt something, and the effect that a study is about."""

import pytest

from kdlib import reporting
from kdlib.reporting.core.evidence import over_images
from kdlib.reporting.verdicts import verdicts
from kdlib.studies import prepare


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a study's results in the profile `quick`."""

    def results(study: str) -> reporting.Results:
        experiment = prepare({"study": study, "profile": "quick", "output_dir": str(tmp_path_factory.mktemp("out"))})
        return reporting.read(experiment.run())

    return results


def one(results, **where):
    ((_, record),) = results.select(**where)
    return record


def test_a_student_gains_by_its_teacher(ran):
    results = ran("cifar_conv")
    teacher, alone = (one(results, role=role) for role in ("teacher", "baseline"))
    assert teacher.correct().mean() > 0.8
    assert teacher.correct().mean() - alone.correct().mean() > 0.05
    assert verdicts(results)[0].side == "up"
    assert len(reporting.findings(results, "en")) > 2


def test_criteria_part_at_half_the_channels(ran):
    results = ran("ts5")
    assert one(results, role="original").correct().mean() > 0.8
    taylor, chance = (one(results, role="finetuned", criterion=name, ratio=0.5) for name in ("taylor", "random"))
    change = taylor.correct().astype(int) - chance.correct()
    assert over_images(change.mean(), [change]).interval[0] > 0.02
    tables = {table.id: table for table in reporting.tables(results)}
    assert "Network: small EfficientNet (for EfficientNet-B4)." in tables["comparison"].markdown("en")
