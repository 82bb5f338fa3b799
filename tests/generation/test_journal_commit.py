"""Group commit: what comes out is on disk, everything comes out once, and an error of the journal reaches the caller."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from journals import ask, chat

from toolkit.common.errors import InputError
from toolkit.generation import Completion, Journal, verify_journal
from toolkit.generation._commit import GROUP, Committer


def test_what_comes_out_is_durable_and_comes_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, Journal(tmp_path, readonly=True) as reader:
        committer = Committer(journal)
        put = [chat(ask(n), f"answer {n}") for n in range(3 * GROUP + 7)]
        out = []
        for request, completion in put:
            committer.add(request, completion)
            if done := committer.durable():
                assert len(reader.get(r.key for r, _ in done)) == len(done)
                out += done
        out += committer.flush()
        assert out == put
        assert committer.flush() == []
        committer.add(*chat(ask("one"), "alone"))
        while not (done := committer.durable()):  # without a flush, too
            time.sleep(0.01)
        assert [r.row for r, _ in done] == ["row-one"]
        committer.add(*chat(ask("last"), "left"))
        committer.close()
        assert len(reader.get([ask("last").key])) == 1


def test_rows_that_share_are_written_with_the_next_group(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        committer = Committer(journal)
        committer.add(*chat(ask(1), "answer"))
        committer.share([(ask(1).key, "twin")])
        committer.flush()
        assert journal.asking([ask(1).key]) == {ask(1).key: ["twin"]}
        committer.share([(ask(1).key, "other")])
        committer.share([])
        committer.close()
        assert journal.asking([ask(1).key]) == {ask(1).key: ["other", "twin"]}


def test_an_error_of_the_journal_is_raised_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    committer = Committer(journal)
    other = Journal(tmp_path, readonly=True)
    committer._journal = other
    committer.add(*chat(ask(1), "answer"))
    with pytest.raises(InputError, match="cannot be written"):
        committer.flush()
    committer.add(*chat(ask(2), "answer"))
    assert committer.flush() == []
    committer.close()
    assert journal.counts()["completions"] == 0
    other.close()
    journal.close()


def test_a_record_that_cannot_be_written_loses_no_other(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        committer = Committer(journal)
        put = [(ask(n), Completion(ask(n).key, f"answer {n}")) for n in range(2 * GROUP)]
        put[7] = (ask(7), Completion(ask(7).key, "odd", cost=complex(1, 1)))  # type: ignore[arg-type]
        for one in put:
            committer.add(*one)
        committer.share([(ask(1).key, "twin"), (ask(2).key, "twin")])
        with pytest.raises(TypeError):
            committer.flush()
        committer.add(*chat(ask("later"), "answer"))
        done = committer.flush()
        committer.close()
        assert [r.key for r, _ in done] == [r.key for n, (r, _) in enumerate(put) if n != 7] + [ask("later").key]
        assert len(journal.get(r.key for r, _ in done)) == 2 * GROUP
        assert journal.asking([ask(1).key, ask(2).key]) == {ask(1).key: ["twin"], ask(2).key: ["twin"]}


def test_counts_that_are_none_are_not_kept(tmp_path: Path) -> None:
    odd = [2**63, 2**53, -1, True, 1.5, "3"]
    with Journal(tmp_path) as journal:
        committer = Committer(journal)
        for n, count in enumerate(odd):
            committer.add(ask(n), Completion(ask(n).key, "text", prompt_tokens=count, completion_tokens=5, seconds=float("nan")))  # type: ignore[arg-type]
        committer.add(ask("whole"), Completion(ask("whole").key, "text", prompt_tokens=2**53 - 1, seconds=-0.0))
        committer.flush()
        committer.close()
        found = [r.completion for r in journal.records()]
    assert [(c.prompt_tokens, c.seconds) for c in found] == [*[(None, None)] * 3, (1, None), *[(None, None)] * 2, (2**53 - 1, 0.0)]
    assert verify_journal(tmp_path).problems == []


def test_many_threads_hand_in(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        committer = Committer(journal)

        def work(k: int) -> None:
            for n in range(200):
                committer.add(*chat(ask(f"{k}-{n}"), "answer"))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len({r.key for r, _ in committer.flush()}) == 800
        committer.close()
        assert journal.counts()["completions"] == 800
