"""Options of the learning rate in `train`, `study` and `plan`."""

from pathlib import Path

from deepen.cli.requests import plan, study, train
from deepen.model.presets import PEAK_RATES
from deepen.schedule.rate import WSD, Constant, Cosine
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Study


def changed(*words: str) -> Study:
    """The study quickstart with options."""
    request = study.parse(["quickstart", *words])
    assert not isinstance(request, study.StudyListRequest)
    return request.study


def test_without_options_a_study_has_its_own_rate():
    assert changed().rate == quickstart().rate


def test_another_shape_keeps_peak_and_warmup():
    own = quickstart().rate
    for name, kind in (("cosine", Cosine), ("constant", Constant)):
        assert changed("--rate", name).rate == kind(peak=own.peak, warmup_tokens=own.warmup_tokens)


def test_each_option_sets_its_part_of_the_rate():
    words = (
        "--lr 3e-3 --warmup-share 0.1 --decay-share 0.3 --decay-in compute --decay-shape sqrt --final-share 0.05"
    )
    expected = WSD(
        peak=3e-3,
        warmup_share=0.1,
        decay_share=0.3,
        decay_in="compute",
        decay_shape="sqrt",
        final_share=0.05,
    )
    assert changed(*words.split()).rate == expected
    assert train.parse(["full", *words.split()]).study.rate == expected
    planned = plan.parse(["quickstart", *words.split()])
    assert isinstance(planned, plan.StudyPlanRequest) and planned.study.rate == expected


def test_a_scaled_study_scales_its_warmup_but_not_the_tokens_that_are_given():
    own = quickstart().rate
    assert changed("--scale", "0.5").rate.warmup_tokens == round(own.warmup_tokens / 2)
    given = changed("--scale", "0.5", "--warmup-tokens", "4096", "--decay-tokens", "8192").rate
    assert given == WSD(peak=own.peak, warmup_tokens=4096, decay_tokens=8192)


def test_a_peak_can_be_that_of_one_arm():
    both = changed("--lr", "small=2e-2", "--lr", "1e-3", "--lr", "two-phase S=4=5e-3")
    peaks = {arm.name: both.rate_for(arm).peak for arm in both.arms}
    assert peaks.pop("small") == 2e-2 and peaks.pop("two-phase S=4") == 5e-3
    assert set(peaks.values()) == {1e-3}
    compared = train.parse(["one-shot", "--against", "full", "--lr", "one-shot=2e-2"]).study
    assert [compared.rate_for(arm).peak for arm in compared.arms] == [PEAK_RATES["nano"], 2e-2]


def test_a_peak_of_an_arm_with_a_rate_of_its_own_changes_that_rate(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import deepen\nfrom dataclasses import replace\n"
        "from deepen.study.define.presets import quickstart\n"
        "mine = deepen.Arm(name='mine', recipe='small', rate=deepen.Cosine(peak=1e-2, warmup_tokens=64))\n"
        "study = replace(quickstart(), arms=(*quickstart().arms, mine))\n"
    )
    request = study.parse([str(file), "--lr", "mine=3e-2", "--tokens", str(2 * quickstart().tokens)])
    assert not isinstance(request, study.StudyListRequest)
    assert request.study.arms[-1].rate == Cosine(peak=3e-2, warmup_tokens=128)
