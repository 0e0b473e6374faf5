"""What several test modules need."""

from pathlib import Path

import pytest
from made import fill

from kcolor.run import Run


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """Surveys are kept here, not in the cache of the person who runs the tests."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Sixteen colour photos of 64 pixels in two classes."""
    folder = tmp_path_factory.mktemp("photos")
    return fill(folder, [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(8)])


@pytest.fixture(scope="session")
def finished(tmp_path_factory, photos) -> Run:
    """A finished run, ``runs/tiny`` of the directory that its path is in: narrow, with a class branch."""
    from kcolor import fit, recipe
    from kcolor.data import manifest

    folder = tmp_path_factory.mktemp("work")
    found = manifest.prepare(photos, survey_file=folder / "survey.jsonl", split=(0.6, 0.2, 0.2), workers=1)
    changes = ["data.size=64", "network.depth=4", "network.width=4", "network.critic_width=4", "train.batch_size=2"]
    changes += ["train.steps_per_epoch=5", "train.epochs=1"]
    return fit.fit(recipe.load(recipe.find("wgan"), changes), found, folder / "runs" / "tiny", name="wgan")


@pytest.fixture
def decided(tmp_path, finished) -> Run:
    """A copy of that run, of one's own, whose generator has weights by which scenes and noise make strong colours."""
    import shutil

    import numpy as np

    from kcolor.colorizer import load_generator

    run = Run(tmp_path / "decided")
    run.path.mkdir()
    for file in (finished.info, finished.recipe, finished.manifest):
        shutil.copy(file, run.path)
    generator, draw = load_generator(finished.path), np.random.default_rng(3)
    for variable in generator.weights:
        if variable.path.endswith("kernel"):
            # The scene is what its dense layers make of the picture, and the bottleneck's other half is quieter.
            factor = 4.0 if "fusion" in variable.path else 1.5
            variable.assign(factor * variable)
        elif variable.path.endswith("bias") or "moving" in variable.path:
            variable.assign(variable + 0.1 * np.abs(draw.normal(size=variable.shape)))
    generator.save(run.generator)
    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory, finished) -> Path:
    """Exports of that run in all formats, in a folder of the run's name."""
    from kcolor import card, export
    from kcolor.colorizer import load_generator
    from kcolor.export import half, photographs, saved_model, tflite

    folder = tmp_path_factory.mktemp("exports") / "tiny"
    generator, real, about = load_generator(finished.path), photographs.find(finished.path), card.of(finished.generator)
    targets = [saved_model.target(generator, folder, about.classes), half.target(generator, "tiny", about)]
    targets += tflite.targets(
        generator, "tiny", photographs=real, precisions=tflite.PRECISIONS, about=about, licence="MIT", max_delta_e=5.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "REPRESENTATIVE", 8)
        export.export(generator, folder, targets, real, source="a test")
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """A folder with stand-ins of the networks of LPIPS and FID; see `standins.narrow`."""
    from standins import publish

    return publish(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A ``.keras`` file; see `serving.tiny`."""
    from serving import tiny

    return tiny(tmp_path_factory.mktemp("models") / "tiny.keras")


@pytest.fixture(scope="session")
def served(tiny_model):
    """A process of kcolor serve with that model."""
    from serving import free_port, serving

    limits = ["--max-body", 4, "--queue", 1000, "--max-pixels", 10_000]
    with serving(tiny_model, "--grpc-port", free_port(), *limits) as server:
        yield server
