"""The README promises commands, options and files: all of them exist."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest
from conftest import REPOSITORY

import denoise_images
import evaluate_images
import gan_lab
import generate_images
from lab.options import flag_of, parse

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
OPTIONS = {
    "gan_lab.py": gan_lab.Options,
    "denoise_images.py": denoise_images.Options,
    "evaluate_images.py": evaluate_images.Options,
    "generate_images.py": generate_images.Options,
}
SCRIPT = r"python ((?:gan_lab|denoise_images|evaluate_images|generate_images)\.py[^`|\n;]*?)"
COMMANDS = sorted(set(re.findall(SCRIPT + r"(?=`|\s{2,}|\n| && )", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command):
    script, *arguments = shlex.split(command)
    recipes = gan_lab.RECIPES if script == "gan_lab.py" else {}
    if "--help" not in arguments:
        parse(OPTIONS[script], arguments, recipes)


def test_the_readme_has_the_five_lab_sheets_and_the_three_commands():
    assert len([command for command in COMMANDS if "--recipe classic" in command]) >= 5
    first = [line.strip() for line in README.splitlines() if line.startswith("    ")][:3]
    assert first == [
        "pip install -r requirements.txt && python gan_lab.py --dataset fashion",
        "pip install -r requirements.txt -r tests/requirements.txt && pytest",
        "python denoise_images.py",
    ]


def test_every_option_named_exists():
    known = {flag_of(field.name) for kind in OPTIONS.values() for field in dataclasses.fields(kind)}
    known |= {flag.replace("--", "--no-", 1) for flag in known} | {"--help"}
    of_scripts = re.sub(
        r"(python benchmarks/|tensorboard --)[^`]*|torchrun .*? gan_lab", "", README
    )
    assert set(re.findall(r"--[a-z][a-z0-9-]+", of_scripts)) <= known


def test_every_file_of_the_layout_exists():
    layout = README.split("## Layout")[1].split("## Licences")[0]
    for name in re.findall(r"^    (\S+)", layout, flags=re.M):
        assert (REPOSITORY / name).exists(), name


@pytest.mark.parametrize(
    ("table", "row", "form"),
    [
        ("END_TO_END.md", r"--dataset fashion` \| (\d+) \|", "takes {} s in all (AMD"),
        (
            "END_TO_END.md",
            r"`python gan_lab.py --dataset fashion` \| 194 \| \d+ \| FCD ([\d.]+), MLP FCD 0.59",
            "(modern) | 194 s on two AVX2 cores | {} | 0.59 |",
        ),
        (
            "END_TO_END.md",
            r"dcgan --dataset fashion` \| 294 \| \d+ \| FCD ([\d.]+), MLP FCD 1.02",
            "dcgan` | 294 s on two AVX2 cores | {} | 1.02 |",
        ),
        (
            "END_TO_END.md",
            r"--recipe best` \| 1,951 \| \d+ \| FCD ([\d.]+), MLP FCD 0.48",
            "best` | 1,951 s on two AVX2 cores | {} | 0.48 |",
        ),
        (
            "FRONTIER.md",
            r"\| dcgan-conditional \| 5 \| [\d,]+ \| ([\d.]+) \| 0.65 \|",
            "--minutes 5` | 5 min on two AVX2 cores | {} | 0.65 |",
        ),
        (
            "FRONTIER.md",
            r"\| dcgan \| 60\* \| [\d,]+ \| ([\d.]+) \| 0.33 \|",
            "dcgan has an FCD of {}, an MLP FCD of 0.33 and",
        ),
        (
            "FRONTIER.md",
            r"diffusion-unet \(.*?\) \| 60\* \| [\d,]+ \| ([\d.]+) \| 47.19 \|",
            "a small diffusion U-Net has {}, 47.19 and 2.6 %",
        ),
        ("CONDITIONAL.md", r"\| FCD \(.*?\*\*([\d.]+)\*\*", "they have an FCD of {} and an MLP"),
        ("CONDITIONAL.md", r"\| MLP FCD \(.*?\) \| ([\d.]+) \|", "and an MLP FCD of {} (real"),
    ],
)
def test_its_figures_are_those_of_the_tables(table, row, form):
    text = (REPOSITORY / "benchmarks" / table).read_text(encoding="utf-8")
    figure = re.search(row, text)[1]
    assert form.format(figure) in " ".join(README.split())


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
