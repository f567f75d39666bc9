"""Does it pay to train half of the blocks first, and then all of them?"""

import deepen


def half_first(model, tokens, *, share: float = 0.5):
    """Half of the blocks for a share of the tokens, then all of them.

    Args:
        share: share of the tokens before growth.
    """
    before = round(tokens * share)
    return deepen.Schedule(
        phases=(
            deepen.Phase(depth=model.depth // 2, tokens=before, label="half"),
            deepen.Phase(depth=model.depth, tokens=tokens - before, label="whole"),
        ),
        growth=deepen.Growth(operator="interleave", moments="copy"),
    )


study = deepen.Study(
    name="half-first",
    model=deepen.ModelConfig(name="tiny", depth=4, width=32, heads=2, context=32, vocab=512),
    tokens=32_768,
    batch_tokens=512,
    context=32,
    arms=(
        deepen.Arm(name="full", recipe="full"),
        deepen.Arm(name="half first", recipe=half_first),
        deepen.Arm(name="half first, 70 %", recipe=half_first, options={"share": 0.7}),
        deepen.Arm(name="small", recipe="small", options={"start_depth": 2}),
    ),
    evaluation=deepen.Evaluation(every_tokens=4_096, validation_tokens=4_096),
    seeds=(0, 1),
    rate=deepen.WSD(peak=1e-2, warmup_tokens=1_024),
)

if __name__ == "__main__":
    results = deepen.run(study, "half-first")
    for verdict in results.verdicts:
        print(verdict.sentence)
    print("Report: half-first/report/index.html")
