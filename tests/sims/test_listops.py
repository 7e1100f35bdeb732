import re
import statistics

import numpy as np
import pytest

from sims.stimuli import listops
from sims.stimuli.listops import GRAMMARS, TOKENS, Grammar, ListError

SMALL = GRAMMARS["small"]


@pytest.fixture(scope="module")
def drawn():
    return listops.trees(SMALL, 7, 0, 1500)


def written(tokens):
    return [TOKENS[token] for token in tokens]


def evaluate(words):
    """An evaluator of its own: recursive, with the statistics module's median.  Returns (value, depth)."""

    def node():
        word = words.pop(0)
        if word.isdigit():
            return int(word), 1
        found = []
        while words[0] != "]":
            found.append(node())
        words.pop(0)
        assert 2 <= len(found) <= 10
        numbers, depths = zip(*found, strict=True)
        function = {
            "[MIN": min,
            "[MAX": max,
            "[MED": lambda x: int(statistics.median(x)),
            "[SM": lambda x: sum(x) % 10,
        }[word]
        return function(numbers), 1 + max(depths)

    words = list(words)
    result = node()
    assert not words
    return result


def test_every_value_is_what_another_evaluator_finds(drawn):
    for tokens, value in zip(*drawn, strict=True):
        found, depth = evaluate(written(tokens))
        assert found == value and depth <= SMALL.max_depth


def test_published_trees_are_long_and_deep():
    tokens, values = listops.trees(GRAMMARS["published"], 7, 0, 12)
    found = [evaluate(written(one)) for one in tokens]
    assert [value for value, _ in found] == list(values) and max(depth for _, depth in found) == 10
    assert all(500 < len(one) < 2000 for one in tokens)


@pytest.mark.parametrize(
    "text, value",
    [("[MAX 4 [MED 1 7 3 2 ] 0 ]", 4), ("[MED 1 2 ]", 1), ("[SM 9 9 9 ]", 7), ("[MIN [SM 5 5 ] 3 ]", 0)],
)
def test_the_four_operations(text, value):
    assert listops.value([TOKENS.index(word) for word in text.split()]) == value


def test_trees_are_all_different_and_within_their_bounds(drawn):
    lengths = np.array([len(tokens) for tokens in drawn[0]])
    assert lengths.min() > 50 and lengths.max() < 200
    assert len({tokens.tobytes() for tokens in drawn[0]}) == len(drawn[0])


def test_digits_operators_and_numbers_of_arguments_are_uniform(drawn):
    """Of trees as they grow, before their length is judged."""
    tokens = np.concatenate([tokens for tokens in drawn[0]])
    digits = np.bincount(tokens[tokens < 10], minlength=10)
    assert np.abs(digits / digits.sum() - 0.1).max() < 4 * np.sqrt(0.09 / digits.sum())
    operators = np.bincount(tokens[(tokens >= 10) & (tokens < 14)] - 10, minlength=4)
    assert np.abs(operators / operators.sum() - 0.25).max() < 4 * np.sqrt(0.1875 / operators.sum())


def test_the_same_number_gives_the_same_tree_whatever_else_is_drawn(drawn):
    tokens, values = listops.trees(SMALL, 7, 40, 3)
    assert all(np.array_equal(*pair) for pair in zip(tokens, drawn[0][40:43], strict=True))
    assert list(values) == list(drawn[1][40:43])


def test_a_repeated_tree_is_drawn_again():
    tiny = Grammar(max_depth=2, longer_than=3, shorter_than=5)  # [OP a b ]: 4 x 100 trees
    tokens, _ = listops.trees(tiny, 0, 0, 120)
    assert len({one.tobytes() for one in tokens}) == 120


def test_a_table_gives_back_its_trees(tmp_path):
    path = tmp_path / "trees.tsv"
    listops.write(path, SMALL, 7, 5, 20)
    (tokens, values), (before, value) = listops.read(path), listops.trees(SMALL, 7, 5, 20)
    assert list(values) == list(value)
    assert all(np.array_equal(*pair) for pair in zip(tokens, before, strict=True))


def test_the_published_files_parentheses_are_left_out(tmp_path):
    path = tmp_path / "basic_train.tsv"
    path.write_text("Source\tTarget\n( ( ( ( [MAX 4 ) ( ( ( [MIN 2 ) 3 ) ] ) ) 0 ) ] )\t4\n")
    tokens, values = listops.read(path)
    assert written(tokens[0]) == ["[MAX", "4", "[MIN", "2", "3", "]", "0", "]"] and list(values) == [4]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: found '', expected the columns Source and Target"),
        ("Source\tTarget\n", "found no trees"),
        ("Source\tTarget\n[MAX 1 2 ]\t2", "ends within line 2.*cut short"),
        ("Source\tTarget\n[MAX 1 2 ]\t2\n[MAX 1 2 ]\t1\n", "line 3: found the value 1, expected 2"),
        ("Source\tTarget\n[MAX 1 2 ]\n", "line 2: found the value nothing, expected 2"),
        ("Source\tTarget\n[MAX 1 2\t2\n", "line 2: found 1 lists without an end"),
        ("Source\tTarget\n[MAX ]\t2\n", "line 2: token 2: found the end of a list"),
        ("Source\tTarget\n] 3\t2\n", "line 2: token 1: found the end of a list"),
        ("Source\tTarget\n[MEAN 1 2 ]\t2\n", r"line 2: found '\[MEAN', expected one of"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "trees.tsv"
    path.write_text(text)
    with pytest.raises(ListError, match=f"{re.escape(str(path))}.*{message}"):
        listops.read(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"max_depth": 1}, "max_depth: found 1"),
        ({"longer_than": 2}, "longer_than: found 2"),
        ({"longer_than": 60, "shorter_than": 61}, "shorter_than: found 61"),
    ],
)
def test_a_grammar_without_trees_is_refused(change, message):
    with pytest.raises(ListError, match=message):
        Grammar(**change)


def test_an_unknown_grammar_is_refused():
    with pytest.raises(ListError, match="--grammar: found 'large', expected one of: published, small"):
        listops.find("large")
