"""Where spoken digits come from, which of them are for learning and which for testing, and their spikes.

    espeak   synthetic speech (sims/stimuli/speech.py) through the cochlea: two speakers and 5 % of the others test
    fsdd     real speech (sims/stimuli/fsdd.py) through the cochlea: takes 0 to 4 test
    shd      the published spikes (sims/stimuli/shd.py) in their own split

A tenth of what is left to learn from is the validation set. A recording depends on the seed and on who says what in
which take, so shards may be made in any order. Recordings that are there already are left out, in whatever split.
"""

import numpy as np

from sims.mistakes import RequestError
from sims.stimuli import cochlea, digits, fsdd, shd, speech
from sims.streams import stream

SOURCES, SPLITS = ("espeak", "fsdd", "shd"), ("train", "valid", "test")
VALID, TEST = 0.1, 0.05  # of takes


def generate(source, split, takes=None, seed=0, shard=0, shards=1, progress=lambda recordings: None):
    """Digits of one shard of one split.

    source, split: as in the module.  takes: of a speaker's word, for each source but shd; by default all.  seed: of the
    synthesiser and the fibres.  shard: every `shards`-th recording from this one on.
    Raises RequestError for what is not on offer, a shard without recordings too; DigitsError, SpeechError, SoundError
    where a recording cannot be had.
    """
    for name, found, offered in (("--source", source, SOURCES), ("--split", split, SPLITS)):
        if found not in offered:
            raise RequestError(f"{name}: found '{found}', expected one of: {', '.join(offered)}")
    if not 0 <= shard < shards:
        raise RequestError(f"--shard: found {shard}, expected 0 to {shards - 1}, below --shards")
    if source == "shd":
        if takes is not None:
            raise RequestError("--takes: found it for shd, expected to leave it away")
        return _filled(_published(split, shard, shards), shard, shards)
    most, fewest = (speech.TAKES, 1) if source == "espeak" else (fsdd.TAKES, fsdd.TEST_TAKES + 1)
    takes = most if takes is None else takes
    if not fewest <= takes <= most:
        raise RequestError(f"--takes: found {takes}, expected {fewest} to {most} for {source}")
    if source == "espeak":
        chosen = synthetic(takes)[split]
        rate, sound = cochlea.RATE, lambda who: None if speech.repeats(seed, *who) else speech.take(seed, *who)
    else:
        recorded = fsdd.read()
        chosen = recorded_by_people(recorded, takes)[split]
        rate, sound = fsdd.RATE, recorded.__getitem__
    chosen = chosen[shard::shards]

    events, kept = [], []
    for who in chosen:
        waves = sound(who)
        progress(1)
        if waves is None:
            continue
        kept.append(who)
        try:
            generator = stream(seed, f"auditory fibres of {source}", *who)
            events.append(cochlea.spikes(waves, rate, generator))
        except cochlea.SoundError as error:
            raise cochlea.SoundError(f"{source}, speaker {who[0]}, digit {who[1]}, take {who[2]}: {error}") from error
    made = digits.gather(events, [label for _, label, _ in kept], [speaker for speaker, _, _ in kept])
    return _filled(made, shard, shards)


def synthetic(takes):
    """{split: [(speaker, label, take)]} of the synthesiser's takes."""
    split = {name: [] for name in SPLITS}
    for speaker in range(len(speech.SPEAKERS)):
        said = [(speaker, label, take) for take in range(takes) for label in range(len(speech.WORDS))]
        if speaker in speech.TEST_ONLY:
            split["test"] += said
            continue
        order = stream(0, "takes for testing", speaker).permutation(len(said))
        test = round(TEST * len(said))
        valid = test + round(VALID * (len(said) - test))
        for name, part in zip(("test", "valid", "train"), np.split(order, [test, valid]), strict=True):
            split[name] += [said[i] for i in np.sort(part)]
    return split


def recorded_by_people(recorded, takes):
    """{split: [(speaker, label, take)]} of recordings with takes below `takes`."""
    split = {name: [] for name in SPLITS}
    for who in recorded:
        if who[2] < fsdd.TEST_TAKES:
            split["test"].append(who)
        elif who[2] < takes:
            split["valid" if stream(0, "takes for validation", *who).random() < VALID else "train"].append(who)
    return split


def _filled(made, shard, shards):
    if not len(made):
        raise RequestError(f"--shards: found {shards}, so many that shard {shard} holds no recording; expected fewer")
    return made


def _published(split, shard, shards):
    found = shd.read("test" if split == "test" else "train")
    recordings = np.arange(len(found))
    if split != "test":
        order = stream(0, "recordings for validation").permutation(len(found))
        valid = round(VALID * len(found))
        recordings = np.sort(order[:valid] if split == "valid" else order[valid:])
    return found.chosen(recordings[shard::shards])
