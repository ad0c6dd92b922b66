"""Recomputes run.json from what views.sql shows, in DuckDB, and names every difference.

    python check_run.py RUN_DIR [TRUTH]

TRUTH is the run.json of a run that counted every document's tokens: with it, the estimates of RUN_DIR must lie within
twice their half width of the truth. Prints the number of comparisons; exits 1 if one failed.
"""

import json
import math
import os
import re
import sys
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import groupby

import duckdb

REPEATS_SCALE = 15.387756  # R* of Muennighoff et al. 2023
BINS = 20
DUPLICATES = ("exact_dedup.document", "exact_dedup.url", "near_dedup.cluster")
KEPT = "reached AND removed_by IS NULL"


class Check:
    """Compares, counts and keeps what differs."""

    def __init__(self, run):
        os.chdir(run)
        self.done, self.failed = 0, []
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        with open("views.sql", encoding="utf-8") as file:
            self.db.execute(file.read())
        with open("run.json", encoding="utf-8") as file:
            self.report = json.load(file)
        self.views = {name for (name,) in self.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal")}
        self.stages = [stage["name"] for stage in self.report["stages"]]

    def rows(self, sql):
        return self.db.execute(sql).fetchall()

    def one(self, sql):
        return self.rows(sql)[0]

    def equal(self, what, found, expected):
        self.done += 1
        if found != expected:
            self.failed.append(f"{what}: run.json has {found}, the tables give {expected}")

    def close(self, what, found, expected):
        self.done += 1
        if not math.isclose(found, expected, rel_tol=1e-9, abs_tol=0.0):
            self.failed.append(f"{what}: run.json has {found}, the tables give {expected}")

    def true(self, what, holds):
        self.done += 1
        if not holds:
            self.failed.append(what)

    def none(self, what, sql):
        """No row may come back."""
        found = self.rows(sql)
        self.true(f"{what}: {len(found)} rows, such as {found[:1]}", not found)

    def has(self, view):
        return view in self.views


def tally(arrived=0):
    return {"in": arrived, "kept": arrived, "removed": {}, "duplicates": 0, "quarantined": 0, "edited": 0}


def tallies():
    return {"docs": tally(), "bytes": tally(), "tokens": tally()}


def add(into, more):
    for field, n in more.items():
        into[field] += n


def put(into, reason, n):
    into["in"] += n
    if reason is None:
        into["kept"] += n
    elif reason.endswith(".error"):
        into["quarantined"] += n
    elif reason in DUPLICATES:
        into["duplicates"] += n
    else:
        into["removed"][reason] = into["removed"].get(reason, 0) + n


def edit(text, edits):
    """The text after its edits, which are spans of bytes."""
    raw, out, at = text.encode(), [], 0
    for change in edits or ():
        out += [raw[at : change["start"]], change["replacement"].encode()]
        at = change["end"]
    return b"".join([*out, raw[at:]]).decode()


def seen_texts(check):
    """Each document's text and bytes: in the table `seen` as deduplication sees them, in `cut` without repeated paragraphs, in `last` as
    the stages behind `pii` do."""
    check.db.execute("CREATE TABLE seen AS SELECT doc_id, text, bytes FROM documents")
    edited_texts(check, "seen", "signals")
    check.db.execute("CREATE TABLE cut AS FROM seen")
    edited_texts(check, "cut", "paragraph_dedup")
    check.db.execute("CREATE TABLE last AS FROM cut")
    edited_texts(check, "last", "pii")


def edited_texts(check, table, stage):
    if not check.has(stage):
        return
    edits = f"""SELECT doc_id, {table}.text, edits, {stage}.bytes FROM {table} JOIN {stage} USING (doc_id)
        WHERE edits IS NOT NULL"""
    for doc_id, text, changes, size in check.rows(edits):
        after = edit(text, changes)
        check.equal(f"{doc_id}, bytes after edits", size, len(after.encode()))
        check.db.execute(f"UPDATE {table} SET text = ?, bytes = ? WHERE doc_id = ?", [after, len(after.encode()), doc_id])
    check.none(
        "texts whose length is another one",
        f"SELECT doc_id FROM {stage} s JOIN {table} t USING (doc_id) WHERE s.bytes IS DISTINCT FROM t.bytes",
    )


def all_views_answer(check):
    for view in sorted(check.views):
        check.true(f"{view} has no columns", check.db.execute(f'SELECT * FROM "{view}"').description)


def funnel(check):
    """Documents, bytes and tokens of every stage, counted again."""
    counted = check.has("tokens")
    estimated = counted and check.one("SELECT count(*) FROM tokens WHERE tokens IS NULL")[0] > 0
    # A document that was not counted has the tokens of its bytes in the hash sample of those that did not reach `tokens`.
    n, t, b, tt, tb, bb = sample(check) if estimated else (0, 0, 1, 0, 0, 0)

    def tokens_at(sizes, tokens, before):
        """Tokens of a text whose length is `sizes`: before each stage of `editing`, and after the last."""
        if not counted:
            return [0 for _ in sizes]
        if tokens is None:
            return [(size * t + b // 2) // b for size in sizes]
        saw, at = {step["stage"]: step["tokens"] for step in before or ()}, [tokens]
        for stage in reversed(editing):
            at.insert(0, saw.get(stage, at[0]))
        return at

    editing = [stage for stage in check.stages if "edits" in columns(check, stage)]
    sizes = ", ".join(f"{stage}.bytes" for stage in ["documents", *editing])
    joins = "".join(f" JOIN {stage} USING (doc_id)" for stage in editing)
    tokens = "tokens.tokens, tokens.tokens_before FROM documents JOIN tokens USING (doc_id)" if counted else "0, NULL FROM documents"
    texts = {}
    for doc_id, source, *own, count, steps in check.rows(f"SELECT documents.doc_id, source, {sizes}, {tokens}{joins}"):
        texts[doc_id] = source, own, tokens_at(own, count, steps), count is None

    # Each figure twice: over all documents, under the name None, and by source.
    names = [None, *(source["name"] for source in check.report["sources"])]
    by_source = {name: {stage: tallies() for stage in check.stages} for name in names}
    guesses = {name: defaultdict(int) for name in names}
    sums = "SELECT source, count(*), coalesce(sum(raw_bytes), 0), coalesce(sum(bytes), 0) FROM documents GROUP BY 1"
    for source, docs, raw, kept in check.rows(sums):
        for name in (None, source):
            first = by_source[name]["documents"]
            add(first["docs"], {"in": docs, "kept": docs})
            add(first["bytes"], {"in": raw, "kept": kept, "edited": raw - kept})
    sums = "SELECT source, sum(records)::BIGINT, coalesce(sum(raw_bytes), 0) FROM quarantine GROUP BY 1"
    for source, bad, bad_bytes in check.rows(sums):
        for name in (None, source):
            first = by_source[name]["documents"]
            add(first["docs"], {"in": bad, "quarantined": bad})
            add(first["bytes"], {"in": bad_bytes, "quarantined": bad_bytes})
    for source, reason, records, size in check.rows("SELECT source, reason, records, bytes FROM skipped"):
        for name in (None, source):
            first = by_source[name]["documents"]
            for unit, n in (("docs", records), ("bytes", size)):
                add(first[unit], {"in": n})
                reasons = first[unit].setdefault("skipped", {})
                reasons[reason] = reasons.get(reason, 0) + n
    for source, own, counts, is_guess in texts.values():
        for name in (None, source):
            put(by_source[name]["documents"]["tokens"], None, counts[0])
            guesses[name]["documents"] += own[0] * is_guess
    for at, stage in enumerate(check.stages[1:], start=1):
        removed = "removed_by" if "removed_by" in columns(check, stage) else "NULL"
        # What arrives is the text after the edits of the stages before.
        edited = sum(other in editing for other in check.stages[:at])
        for doc_id, reason in check.rows(f"SELECT doc_id, {removed} FROM {stage} WHERE reached"):
            source, own, counts, is_guess = texts[doc_id]
            for name in (None, source):
                found = by_source[name][stage]
                put(found["docs"], reason, 1)
                for unit, lengths in (("bytes", own), ("tokens", counts)):
                    put(found[unit], reason, lengths[edited])
                    if stage in editing:
                        found[unit]["kept"] += lengths[edited + 1] - lengths[edited]
                        found[unit]["edited"] += lengths[edited] - lengths[edited + 1]
                guesses[name][stage] += own[edited] * is_guess
    expected, guessed = by_source[None], guesses[None]
    for stage in check.report["stages"]:
        name = stage["name"]
        for unit in ("docs", "bytes", "tokens"):
            check.equal(f"{name}, {unit}", stage[unit], expected[name][unit] if unit != "tokens" or counted else None)
        width, docs_guessed = None, guessed[name] / (b / n) if n else 0
        if docs_guessed:
            ratio = t / b
            variance = (tt - 2 * ratio * tb + ratio * ratio * bb) / (n - 1)
            width = round(1.96 * math.sqrt(docs_guessed**2 * variance / n + docs_guessed * variance))
        check.equal(f"{name}, half width", stage["tokens_in_half_width"], width)
    check.equal("docs_in", check.report["docs_in"], expected["documents"]["docs"]["in"])
    conservation(check, "all", check.report["stages"])
    funnel_view(check, expected)
    for source in check.report["sources"]:
        name = source["name"]
        stages = [stage["name"] for stage in source["funnel"]]
        check.equal(f"source {name}, stages", stages, check.stages)
        for stage in source["funnel"]:
            found = by_source[name][stage["name"]]
            is_exact = counted and not guesses[name][stage["name"]]
            for unit in ("docs", "bytes", "tokens"):
                tallied = found[unit] if unit != "tokens" or is_exact else None
                check.equal(f"source {name}, {stage['name']}, {unit}", stage[unit], tallied)
        conservation(check, name, source["funnel"])
    funnel_by_source_view(check, by_source)


def sample(check):
    """Documents, Σ t, Σ b, Σ t², Σ t·b and Σ b² of the counted documents that did not reach `tokens`."""
    t, b = "t.tokens::HUGEINT", "d.bytes::HUGEINT"
    sums = ", ".join(f"sum({term})" for term in (t, b, f"{t} * {t}", f"{t} * {b}", f"{b} * {b}"))
    where = "NOT t.reached AND t.tokens IS NOT NULL AND doc_id < '1'"
    return [int(n or 0) for n in check.one(f"SELECT count(*), {sums} FROM tokens t JOIN last d USING (doc_id) WHERE {where}")]


def columns(check, view):
    return [row[0] for row in check.rows(f'DESCRIBE "{view}"')]


def conservation(check, whose, stages):
    """What arrives goes somewhere, and what a stage kept arrives at the next."""
    before = None
    for stage in stages:
        name = f"{whose}, {stage['name']}"
        for unit in ("docs", "bytes", "tokens"):
            own = stage[unit]
            if own is None:
                continue
            out = own["kept"] + sum(own["removed"].values()) + own["duplicates"] + own["quarantined"] + own["edited"]
            out += sum(own.get("skipped", {}).values())
            check.equal(f"{name}, {unit} in", own["in"], out)
            if before and before[unit] is not None:
                check.equal(f"{name}, {unit} in, of those kept before", own["in"], before[unit]["kept"])
        check.equal(f"{name}, documents edited", stage["docs"]["edited"], 0)
        before = stage


def funnel_view(check, expected):
    found = {stage: {"docs": tally(), "bytes": tally()} for stage in expected}
    for stage, reason, docs, size in check.rows("SELECT stage, removed_by, docs, bytes FROM funnel"):
        put(found[stage]["docs"], reason, docs)
        put(found[stage]["bytes"], reason, size or 0)
        if stage in ("signals", "paragraph_dedup", "pii"):
            for unit in ("in", "edited"):
                found[stage]["bytes"][unit] = expected[stage]["bytes"][unit]
    for stage, units in found.items():
        if stage != "documents":
            check.equal(f"view funnel, {stage}", units, {unit: expected[stage][unit] for unit in units})
        else:
            check.equal("view funnel, documents", units["docs"]["kept"], expected[stage]["docs"]["kept"])


def funnel_by_source_view(check, by_source):
    """A row for each source that has records, and for each stage that its documents are rows of."""
    rows = check.rows("SELECT source, stage, docs_in, kept, removed, duplicates, quarantined, bytes_kept, skipped FROM funnel_by_source")
    for source, stage, *found in rows:
        docs, size = by_source[source][stage]["docs"], by_source[source][stage]["bytes"]
        removed = sum(docs["removed"].values())
        expected = [docs["in"], docs["kept"], removed, docs["duplicates"], docs["quarantined"], size["kept"], sum(docs.get("skipped", {}).values())]
        check.equal(f"view funnel_by_source, {source}, {stage}", found, expected)
    expected = []
    for source, stages in by_source.items():
        if source is not None and stages["documents"]["docs"]["in"]:
            has_documents = stages["documents"]["docs"]["kept"] > 0
            expected += [(source, stage) for stage in (check.stages if has_documents else check.stages[:1])]
    check.equal("rows of funnel_by_source", sorted(row[:2] for row in rows), sorted(expected))


def terms(check):
    """The documents that the terms judge and that lack a value, by reason."""
    for term in check.report["terms"]:
        name = term["column"]
        is_judged = "reached AND (removed_by IS NULL OR removed_by LIKE 'quality.missing.%')"
        rows = check.rows(f"SELECT doc_id, removed_by IS NULL, terms['{name}'], meta FROM quality q "
                          f"JOIN documents USING (doc_id) WHERE q.{is_judged}")
        check.equal(f"term {name}, documents", term["documents"], len(rows))
        lacking = [row for row in rows if row[1] and row[2] is None]
        total, found = sum(term["without_value"].values()), Counter()
        if name.startswith("meta."):
            for _, _, _, meta in rows:
                found[absence(json.loads(meta) if meta else {}, name.removeprefix("meta."))] += 1
            found.pop(None, None)
            check.equal(f"term {name}, without a value", term["without_value"], dict(found))
        check.true(f"term {name}: {total} without a value, {len(lacking)} null", total >= len(lacking))
        if all(row[1] for row in rows):
            check.equal(f"term {name}, null in quality.terms", total, len(lacking))


def absence(record, field):
    """Why a field of a record is no number; None if it is one."""
    value = record
    if field in record:
        value = record[field]
    else:
        for part in field.split("."):
            if not isinstance(value, dict) or part not in value:
                return "absent"
            value = value[part]
    if value is None:
        return "null"
    return None if isinstance(value, (int, float)) else "not_a_number"


def alignment(check):
    """Every row-aligned table has the documents' ids in the documents' order."""
    ids = check.rows("SELECT doc_id FROM documents")
    check.equal("distinct doc_ids", len(set(ids)), len(ids))
    before = None
    for stage in check.stages[1:]:
        check.true(f"{stage}: its rows are not the documents'", check.rows(f"SELECT doc_id FROM {stage}") == ids)
        if before:
            kept = KEPT.replace("removed_by IS NULL", "true") if "removed_by" not in columns(check, before) else KEPT
            check.none(
                f"{stage}: reached by other documents than {before} kept",
                f"SELECT doc_id FROM (SELECT doc_id FROM {stage} WHERE reached) s "
                f"FULL JOIN (SELECT doc_id FROM {before} WHERE {kept}) b USING (doc_id) "
                f"WHERE s.doc_id IS NULL OR b.doc_id IS NULL",
            )
        before = stage


def pools(check):
    """What is left and what it is worth: all of it, by source and by domain."""
    empty = [{"docs": 0, "bytes": 0, "tokens": 0, "q": 0.0, "d_eff": 0.0}]
    pool = f"""
        FROM (SELECT * FROM quality WHERE {KEPT}) JOIN tokens t USING (doc_id) JOIN documents d USING (doc_id)
        JOIN last e USING (doc_id)"""
    sums = "count(*), sum(e.bytes), sum(t.tokens), sum(t.tokens * q)"

    def compare(what, found, row):
        docs, size, tokens, weighted = row
        expected = {"docs": docs, "bytes": size, "tokens": tokens, "d_eff": weighted} if docs else empty[0]
        for unit in ("docs", "bytes", "tokens"):
            check.equal(f"{what}, {unit}", found[unit], expected[unit])
        check.close(f"{what}, d_eff", found["d_eff"], expected["d_eff"])
        check.close(f"{what}, q", found["q"], expected["d_eff"] / tokens if docs else 0.0)

    by_source = {}
    if check.has("quality"):
        by_source = {row[0]: row[1:] for row in check.rows(f"SELECT d.source, {sums} {pool} GROUP BY 1")}
        by_domain = {row[0]: row[1:] for row in check.rows(f"SELECT d.domain, {sums} {pool} GROUP BY 1")}
        compare("pool", check.report["pool"], check.one(f"SELECT {sums} {pool}"))
        check.equal("domains", sorted(check.report["domains"]), sorted(by_domain))
        for name, row in by_domain.items():
            compare(f"domain {name}", check.report["domains"][name], row)
    for source in check.report["sources"]:
        name = source["name"]
        docs = check.one(f"SELECT count(*) FROM documents WHERE source = '{name}'")[0]
        bad = check.one(f"SELECT coalesce(sum(records), 0)::BIGINT FROM quarantine WHERE source = '{name}'")[0]
        ids = f"SELECT count(*) AS n FROM documents WHERE source = '{name}' AND source_id IS NOT NULL GROUP BY source_id"
        repeated = check.one(f"SELECT coalesce(sum(n), 0) FROM ({ids}) WHERE n > 1")[0]
        skipped = dict(check.rows(f"SELECT reason, sum(records)::BIGINT FROM skipped WHERE source = '{name}' GROUP BY 1"))
        found = (source["docs_in"], source["quarantined"], source["repeated_ids"])
        check.equal(f"source {name}: read, quarantined, repeated", found, (docs + bad + sum(skipped.values()), bad, repeated))
        check.equal(f"source {name}: skipped", source["skipped"], skipped)
        kinds = f"SELECT unnest(repaired) AS kind FROM documents WHERE source = '{name}'"
        repaired = dict(check.rows(f"SELECT kind, count(*) FROM ({kinds}) GROUP BY kind"))
        check.equal(f"source {name}: repaired", source["repaired"], repaired)
        if check.has("quality"):
            compare(f"source {name}", source["pool"], by_source.get(name, (0, 0, 0, 0)))


def bins(check):
    """The bin of each document of the pool, by token-weighted quantiles of q over all of it, and what each bucket holds."""
    sql = f"""SELECT d.doc_id, d.source, d.domain, e.bytes, t.tokens, q.q FROM documents d
        POSITIONAL JOIN last e POSITIONAL JOIN tokens t POSITIONAL JOIN quality q WHERE q.reached AND q.removed_by IS NULL"""
    pool = check.rows(sql)
    total, below, edges = sum(row[4] for row in pool), 0, []
    for q, equal in groupby(sorted(pool, key=lambda row: row[5]), key=lambda row: row[5]):
        while len(edges) < BINS - 1 and below * BINS >= total * (len(edges) + 1):
            edges.append(q)
        below += sum(row[4] for row in equal)
    bin_of = {row[0]: (row[1], row[2], bisect_right(edges, row[5])) for row in pool}
    buckets = defaultdict(lambda: [0, 0, 0, 0.0])
    for doc_id, _, _, size, tokens, q in pool:
        sums = buckets[bin_of[doc_id]]
        for at, n in enumerate((1, size, tokens, tokens * q)):
            sums[at] += n
    found = check.rows("SELECT source, domain, bin, documents, bytes, tokens, q FROM buckets")
    check.equal("buckets", sorted(row[:3] for row in found), sorted(buckets))
    for row in found:
        docs, size, tokens, weighted = buckets.get(row[:3], [0, 0, 1, 0.0])
        check.equal(f"bucket {row[:3]}", row[3:6], (docs, size, tokens))
        check.close(f"bucket {row[:3]}, q", row[6], weighted / tokens)
    return bin_of


def mixtures(check):
    """Draws, tokens and effective tokens of each mixture, and that its text is the documents'."""
    bin_of = bins(check) if check.has("buckets") else {}
    for mixture in check.report["mixtures"]:
        name = mixture["name"]
        drawn = check.rows(f"SELECT doc_id, m.draws, t.tokens, q.q FROM mix_{name} m JOIN tokens t USING (doc_id) "
                           "JOIN quality q USING (doc_id) WHERE q.reached AND q.removed_by IS NULL")
        check.equal(f"{name}, docs", mixture["docs"], len(drawn))
        check.equal(f"{name}, rows of mix", check.one(f"SELECT count(*) FROM mix_{name}")[0], len(drawn))
        tokens, unique = sum(d * t for _, d, t, _ in drawn), sum(t for _, _, t, _ in drawn)
        check.equal(f"{name}, draws", mixture["draws"], sum(d for _, d, _, _ in drawn))
        check.equal(f"{name}, tokens", (mixture["tokens"], mixture["unique_tokens"]), (tokens, unique))
        check.close(f"{name}, epochs", mixture["epochs"], tokens / unique)
        check.close(f"{name}, q", mixture["q"], sum(d * t * q for _, d, t, q in drawn) / tokens)
        longest = check.one(f"SELECT max(tokens) FROM tokens JOIN quality USING (doc_id) WHERE quality.{KEPT}")[0]
        check.true(f"{name}: {tokens} tokens, not those asked for", abs(tokens - mixture["tokens_asked"]) <= longest)
        d_eff = d_repeat = 0.0
        by_bucket = defaultdict(list)
        for doc_id, draws, n, q in drawn:
            by_bucket[bin_of[doc_id]].append((draws, n, q))
        for rows in by_bucket.values():
            unique, all_ = sum(t for _, t, _ in rows), sum(d * t for d, t, _ in rows)
            worth = unique * (1 + REPEATS_SCALE * -math.expm1(-(all_ / unique - 1) / REPEATS_SCALE))
            d_repeat += worth
            d_eff += worth * sum(d * t * q for d, t, q in rows) / all_
        check.close(f"{name}, d_eff", mixture["d_eff"], d_eff)
        check.close(f"{name}, d_repeat", mixture["d_repeat"], d_repeat)
        mixture_rows(check, name, Counter({doc_id: draws for doc_id, draws, _, _ in drawn}))


def mixture_rows(check, name, draws):
    check.none(
        f"mixture_{name}: rows that are not their document's",
        f"""SELECT m.doc_id FROM mixture_{name} m LEFT JOIN documents d USING (doc_id) LEFT JOIN last e USING (doc_id)
        LEFT JOIN tokens t USING (doc_id) LEFT JOIN quality q USING (doc_id)
        WHERE (m.text, m.source, m.domain, m.tokens, m.q) IS DISTINCT FROM (e.text, d.source, d.domain, t.tokens, q.q)""",
    )
    rows = check.rows(f"SELECT doc_id, draw FROM mixture_{name}")
    check.true(f"mixture_{name}: its draws are not those of the mix", Counter(row[0] for row in rows) == draws)
    numbered = sorted((doc_id, draw) for doc_id, n in draws.items() for draw in range(n))
    check.true(f"mixture_{name}: draws are not numbered from 0", sorted(rows) == numbered)


# Blocks of the scripts that put no spaces between words: each letter of them is a word, with its marks.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3000-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\ua48f\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff65-\uff9f\U00011700-\U0001174f"
    "\U00016fe0-\U00018d7f\U0001aff0-\U0001b2ff\U00020000-\U0003347f]"
)


def words(text):
    text = text.lower()
    if not UNSPACED.search(text):
        return re.findall(r"\w+", text)
    kinds = []
    for c in text:
        category = unicodedata.category(c) if UNSPACED.match(c) else ""
        letter, mark = category in ("Lo", "Lm", "Nl"), category in ("Mn", "Mc")
        kinds.append("L" if letter else "M" if mark else "w" if re.match(r"\w", c) else " ")
    return [text[found.start() : found.end()] for found in re.finditer("LM*|M+|w+", "".join(kinds))]


def shingles(text):
    all_words = words(text)
    return {tuple(all_words[at : at + 5]) for at in range(max(1, len(all_words) - 4))}


def duplicates(check):
    """Every duplicate names a document that is kept and that it equals, or nearly so."""
    if check.has("exact_dedup"):
        check.none(
            "exact duplicates of a document that is not kept",
            f"""SELECT e.doc_id FROM exact_dedup e
            LEFT JOIN (SELECT doc_id FROM exact_dedup WHERE {KEPT}) s ON s.doc_id = e.kept_id
            WHERE e.removed_by IS NOT NULL AND s.doc_id IS NULL AND e.kept_in IS NULL""",
        )
        pairs = check.rows("""SELECT d.text, k.text, s.normalized_hash IS NULL FROM exact_dedup e
            JOIN seen d USING (doc_id) JOIN signatures s USING (doc_id) JOIN seen k ON k.doc_id = e.kept_id
            WHERE e.removed_by = 'exact_dedup.document' AND e.kept_in IS NULL 
            AND NOT EXISTS (SELECT 1 FROM signatures WHERE url_hash IS NOT NULL)""")
        for removed, kept, as_is in pairs:
            same = removed == kept or not as_is and words(removed) == words(kept)
            check.true(f"an exact duplicate equals the kept document: {removed[:40]!r}", same)
        texts = f"SELECT text FROM seen JOIN exact_dedup USING (doc_id) WHERE exact_dedup.{KEPT} GROUP BY 1"
        removes = check.one("SELECT count(*) FROM exact_dedup WHERE removed_by IS NOT NULL")[0]
        if removes:
            check.none("equal texts that are both kept", f"{texts} HAVING count(*) > 1")
    if not check.has("near_dedup_evidence"):
        return
    check.none(
        "removals without their one row of evidence",
        """SELECT doc_id FROM (SELECT doc_id, count(*) AS n FROM near_dedup_evidence GROUP BY 1) e
        FULL JOIN (SELECT doc_id FROM near_dedup WHERE removed_by IS NOT NULL) r USING (doc_id)
        WHERE r.doc_id IS NULL OR e.n IS DISTINCT FROM 1""",
    )
    check.none(
        "evidence that names a document that is not kept",
        f"""SELECT doc_id FROM near_dedup_evidence e
        LEFT JOIN (SELECT doc_id AS kept_id, true AS found FROM near_dedup WHERE {KEPT}) k USING (kept_id)
        WHERE k.found IS NULL AND e.kept_in IS NULL""",
    )
    pairs = check.rows("""SELECT e.jaccard, d.text, k.text FROM near_dedup_evidence e
        JOIN seen d USING (doc_id) JOIN seen k ON k.doc_id = e.kept_id WHERE e.jaccard IS NOT NULL AND e.kept_in IS NULL""")
    for jaccard, removed, kept in pairs:
        a, b = shingles(removed), shingles(kept)
        check.close("a near-duplicate's jaccard", jaccard, len(a & b) / len(a | b))
        check.true(f"a near-duplicate of jaccard {jaccard}", jaccard >= 0.8)


def paragraphs(check):
    """Every paragraph or line that was cut out still stands in a text, and none that is left stands there twice."""
    if not check.has("paragraph_dedup") or not check.one("SELECT count(edits) FROM paragraph_dedup")[0]:
        return
    kept = "\n".join(row[0] for row in check.rows(f"SELECT text FROM cut JOIN paragraph_dedup USING (doc_id) WHERE {KEPT}"))
    left = {line.strip() for line in kept.split("\n")}
    for doc_id, text, changes in check.rows(
        "SELECT doc_id, text, edits FROM seen JOIN paragraph_dedup USING (doc_id) WHERE edits IS NOT NULL"
    ):
        for change in changes:
            gone = text.encode()[change["start"] : change["end"]].decode()
            lost = [line for line in gone.split("\n") if line.strip() and line.strip() not in left]
            check.true(f"{doc_id}: every line that was cut out stands elsewhere, not {lost[:1]}", not lost)


def personal_data(check):
    """The counts of kinds are those of the edits, and sum up."""
    if not check.has("pii"):
        return
    kinds = columns(check, "pii")[5:]
    for number, edits, *counts in check.rows(f"SELECT found, edits, {', '.join(kinds)} FROM pii WHERE found IS NOT NULL"):
        check.equal("values of all kinds", number, sum(count or 0 for count in counts))
        reasons = [change["reason"] for change in edits or ()]
        for kind, count in zip(kinds, counts):
            found = reasons.count(f"pii.{kind}")
            check.true(f"{found} edits for {count} of {kind}", edits is None or found == (count or 0))


def estimates(check, truth):
    """What a sample says of the stages before `tokens` lies within twice its half width; from there on it is no estimate."""
    exact = {stage["name"]: stage["tokens"] for stage in truth["stages"]}
    for stage in check.report["stages"]:
        name, width = stage["name"], stage["tokens_in_half_width"]
        if name in ("tokens", "quality"):
            check.equal(f"{name}, tokens of survivors", stage["tokens"], exact[name])
            continue
        check.true(f"{name}: no interval", width is None or width > 0)
        off = abs(stage["tokens"]["in"] - exact[name]["in"])
        check.true(f"{name}: {off} tokens from the truth, half width {width}", off <= 2 * (width or 0))


def main():
    truth = None
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as file:
            truth = json.load(file)
    check = Check(sys.argv[1])
    for part in (seen_texts, all_views_answer, funnel, alignment, terms, pools, mixtures, duplicates, paragraphs, personal_data):
        part(check)
    if truth:
        estimates(check, truth)
    for failure in check.failed:
        print(failure)
    print(f"{check.done} comparisons, {len(check.failed)} failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
