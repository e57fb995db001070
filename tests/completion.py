"""The completion scripts that the package ships, as the settings have them: `make completion` writes them."""

import re
import textwrap
from collections import defaultdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pcae.cli import FAMILIES, SHELLS
from pcae.settings.help import explanations, flags_of, positional_metavars
from pcae.settings.recipes import AUTO, recipe_names
from pcae.settings.training import RunSettings
from pcae.settings.values import build, flatten, leaves
from pcae.settings.values import flags as settings_flags
from pcae.settings.verbs import VERBS, config_of

HEAD = "# What pcae's words can be, for TAB. Written by `make completion` from the settings.\n"
FIRST = {verb: what for verb, what in VERBS.items() if " " not in verb} | {
    **{family: "verbs: " + ", ".join(v.split()[1] for v in VERBS if v.split()[0] == family) for family in FAMILIES},
    "completion": "the script for TAB in bash, zsh or fish",
}
"""The first words that there are."""
SECOND = {family: [verb.split()[1] for verb in VERBS if verb.split()[0] == family] for family in FAMILIES} | {
    "completion": list(SHELLS)
}
"""What can follow a first word that is no verb by itself."""

BASH = (
    HEAD
    + """_pcae() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} flag='' behind=0 flags='' words='' place
    [[ $word == = ]] && word=''
    case $COMP_CWORD,$verb in
        1,*) words='@first@' ;;
@second@
    esac
    [[ $COMP_CWORD -gt 2 && ' @families@ ' == *" $verb "* ]] && verb="$verb ${COMP_WORDS[2]}"
    for ((place = 2; place < COMP_CWORD; place++)); do
        case ${COMP_WORDS[place]} in
            --*) flag=${COMP_WORDS[place]} behind=0 ;;
            =) ;;
            *) behind=$((behind + 1)) ;;
        esac
    done
    case $verb in
@flags@
    esac
    case "$verb $flag $behind" in
@choices@
    esac
    [[ $word == -* ]] && words=$flags
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o bashdefault -o default -F _pcae pcae
"""
)
ZSH = (
    "#compdef pcae\n"
    + HEAD
    + """_pcae() {
    local verb=$words[2] flag='' behind=0 choices='' word
    local -a flags first
    if (( CURRENT == 2 )); then
        first=(
@first@
        )
        _describe verb first
        return
    fi
    case $CURRENT,$verb in
@second@
    esac
    (( CURRENT > 3 )) && [[ ' @families@ ' == *" $verb "* ]] && verb="$verb $words[3]"
    for word in $words[3,CURRENT-1]; do
        case $word in
            (--*) flag=$word behind=0 ;;
            (*) (( behind++ )) ;;
        esac
    done
    if [[ $PREFIX == --*=* ]]; then
        flag=${PREFIX%%=*} behind=0
        compset -P 1 '*='
    fi
    case $verb in
@flags@
    esac
    case "$verb $flag $behind" in
@choices@
    esac
    if [[ $PREFIX == -* ]]; then
        _describe -o flag flags
    elif [[ -n $choices ]]; then
        compadd -- ${=choices}
    else
        _files
    fi
}
if [[ $funcstack[1] == _pcae ]]; then
    _pcae "$@"
else
    compdef _pcae pcae
fi
"""
)
FISH = (
    HEAD
    + """function __pcae_verb
    set -l words (commandline -opc)
    set -q words[2]; or return 1
    set -l verb $words[2]
    contains -- $verb @families@; and set -q words[3]; and set verb "$verb $words[3]"
    contains -- $verb $argv
end
complete -c pcae -n 'test (count (commandline -opc)) -eq 1' -f
@lines@
"""
)


@cache
def scripts() -> dict[str, str]:
    """The script of every shell, by its name."""
    return {"bash": bash(), "zsh": zsh(), "fish": fish()}


def bash() -> str:
    """Flags by verb, and what some of them take one of; files everywhere else."""
    return fill(
        BASH,
        first=" ".join(FIRST),
        second="\n".join(f"        2,{word}) words='{' '.join(words)}' ;;" for word, words in SECOND.items()),
        flags="\n".join(f"        {quoted(verb)}) flags='{' '.join(described(verb))}' ;;" for verb in VERBS),
        choices="\n".join(f"        {pattern}) words='{words}' ;;" for pattern, words in choices().items()),
    )


def zsh() -> str:
    """The same, with what each verb and flag is for."""
    return fill(
        ZSH,
        first="\n".join(f"            {quoted(f'{word}:{what}')}" for word, what in FIRST.items()),
        second="\n".join(
            f"        (3,{word}) compadd -- {' '.join(words)}; return ;;" for word, words in SECOND.items()
        ),
        flags="\n".join(
            f"        ({quoted(verb)}) flags=(\n"
            + "\n".join(f"            {quoted(f'{flag}:{what}')}" for flag, what in described(verb).items())
            + "\n        ) ;;"
            for verb in VERBS
        ),
        choices="\n".join(f"        ({pattern}) choices='{words}' ;;" for pattern, words in choices().items()),
    )


def fish() -> str:
    """A line for each verb, and for each flag of the verbs in which it is the same."""
    lines = [
        f"complete -c pcae -n 'test (count (commandline -opc)) -eq 1' -a {word} -d {quoted(what)}"
        for word, what in FIRST.items()
    ]
    lines += [
        f"complete -c pcae -n '__pcae_verb {word}' -f -a {quoted(' '.join(words))}" for word, words in SECOND.items()
    ]
    same: defaultdict[str, list[str]] = defaultdict(list)
    for verb in VERBS:
        for flag, what in described(verb).items():
            same[f"-l {flag[2:]} {taken(verb, flag)} -d {quoted(what)}".replace("  ", " ")].append(verb)
    for line, verbs in same.items():
        condition = "__pcae_verb " + " ".join(f'"{verb}"' if " " in verb else verb for verb in verbs)
        lines.append(f"complete -c pcae -n '{condition}' {line}")
    return fill(FISH, lines="\n".join(lines))


def fill(script: str, **parts: str) -> str:
    """A script with its parts in their places."""
    for name, part in {**parts, "families": " ".join(sorted(FAMILIES))}.items():
        script = script.replace(f"@{name}@", part)
    return script


@cache
def described(verb: str) -> dict[str, str]:
    """The flags of a verb, and in a few words what each is for."""
    cls = config_of(verb)
    said, defaults, positional = explanations(cls), flatten(build(cls, {})), positional_metavars(cls)
    flags = {
        flag: textwrap.shorten(re.split(r"; |(?<!\.)\.(?: |$)", said[name])[0], 70, placeholder=" ...")
        for name, kind in settings_flags(cls).items()
        if name not in positional
        for flag in flags_of(name, kind, defaults[name])[-1:]
    }
    return flags | {"--help": "two examples and the usual settings", "--help-all": "every setting, in groups"}


def choices() -> dict[str, str]:
    """What flags take one of, or some of, by the pattern of verb, flag and number of values that are there."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for verb in VERBS:
        for name, kind in settings_flags(config_of(verb)).items():
            words = words_of(verb, name)
            if words:
                number = "*" if get_origin(strip(kind)) is tuple else "0"
                same[" ".join(words)].append(f"{quoted(f'{verb} --{name} '.replace('_', '-'))}{number}")
    return {" | ".join(patterns): words for words, patterns in same.items()}


@cache
def words_of(verb: str, name: str) -> list[str]:
    """The words that a setting takes one of."""
    cls = config_of(verb)
    if name == "recipe" and issubclass(cls, RunSettings):
        return [AUTO, *recipe_names(cls)]
    kind = strip(leaves(cls)[name])
    kind = strip(get_args(kind)[0]) if get_origin(kind) is tuple else kind
    return [str(word) for word in get_args(kind)] if get_origin(kind) is Literal else []


def strip(kind: Any) -> Any:
    """A type less None."""
    inner = [one for one in get_args(kind) if one is not type(None)]
    return inner[0] if type(None) in get_args(kind) and len(inner) == 1 else kind


def taken(verb: str, flag: str) -> str:
    """What a flag takes, as fish says it: nothing, words, files, or a number."""
    name = flag.removeprefix("--").replace("-", "_")
    kinds = leaves(config_of(verb))
    if name not in kinds or kinds[name] is bool:
        return ""
    if words_of(verb, name):
        return f"-x -a {quoted(' '.join(words_of(verb, name)))}"
    return "-r -F" if {str, Path} & {strip(kinds[name]), *get_args(strip(kinds[name]))} else "-x"


def quoted(text: str) -> str:
    """A text as one word of any of the shells."""
    return "'" + text.replace("'", r"'\''") + "'"


def write() -> None:
    """Write the scripts where `pcae completion` finds them."""
    for shell, script in scripts().items():
        Path(str(resources.files("pcae") / "completion" / f"pcae.{shell}")).write_text(script, "utf-8")


if __name__ == "__main__":
    write()
