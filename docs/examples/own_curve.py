"""Run a small study in this process, then plot the loss of its arms over compute."""

import matplotlib.pyplot as plt

import deepen

study = deepen.Study(
    name="own-curve",
    model=deepen.ModelConfig(name="tiny", depth=4, width=32, heads=2, context=32, vocab=512),
    tokens=32_768, batch_tokens=512, context=32,
    arms=(deepen.Arm(name="full", recipe="full"), deepen.Arm(name="one-shot", recipe="one-shot")),
    evaluation=deepen.Evaluation(every_tokens=4_096, validation_tokens=4_096),
    rate=deepen.WSD(peak=1e-2, warmup_tokens=1_024),
)  # fmt: skip
results = deepen.run(study, "own-curve", executor="local:1")
for arm in results.arms:
    plt.plot([point.flops for point in arm.curve], [point.val_loss for point in arm.curve], label=arm.name)
plt.xlabel("FLOPs")
plt.ylabel("validation loss in nats per token")
plt.legend()
plt.savefig("own-curve.png")
