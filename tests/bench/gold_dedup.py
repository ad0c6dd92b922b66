"""Holds a run's removals against the exact Jaccard similarity of all pairs: `make gold-dedup DOCS=… PAIRS=…`.

    python gold_dedup.py RUN_DIR PAIRS.parquet

PAIRS has a row for each pair of records with Jaccard 0.5 or more over sets of 5-word shingles: i, j (records before it in
the one input file) and jaccard, rounded to four decimals. Its words are `\\w+`. So near-duplicates with letters of scripts
without spaces, whose shingles are of letters, are counted and left out. Exits 1 if a removed document has no kept one at
0.8 or more, if more than 1 % of the pairs at 0.8 or more keep both, or if two equal texts are kept.
"""

import os
import sys

import duckdb


def main():
    pairs = os.path.abspath(sys.argv[2])
    os.chdir(sys.argv[1])
    db = duckdb.connect()
    with open("views.sql", encoding="utf-8") as file:
        db.execute(file.read())
    db.execute(
        """CREATE TABLE fate AS SELECT d.ordinal::INTEGER AS row, d.doc_id, d.text,
        e.removed_by IS NOT NULL AS equal, n.removed_by IS NOT NULL AS removed, n.reached AND n.removed_by IS NULL AS kept,
        NOT regexp_matches(d.text, '[\\p{Han}\\p{Hiragana}\\p{Katakana}\\p{Thai}\\p{Lao}\\p{Khmer}\\p{Myanmar}]') AS spaced,
        removed AND spaced AS near
        FROM documents d JOIN exact_dedup e USING (doc_id) JOIN near_dedup n USING (doc_id)"""
    )
    db.execute(
        f"""CREATE TABLE pairs AS SELECT i, j, jaccard FROM '{pairs}'
        UNION ALL SELECT j, i, jaccard FROM '{pairs}'"""
    )

    def one(sql):
        return db.execute(sql).fetchall()[0][0]

    equal, near = one("SELECT count(*) FROM fate WHERE equal"), one("SELECT count(*) FROM fate WHERE near")
    left_out = one("SELECT count(*) FROM fate WHERE removed AND NOT spaced")
    texts = one("SELECT count(*) - count(DISTINCT text) FROM fate")
    with_kept = """SELECT count(DISTINCT f.row) FROM fate f JOIN pairs p ON p.i = f.row JOIN fate k ON k.row = p.j
        WHERE f.near AND k.kept AND p.jaccard >= {}"""
    at_80, at_70 = one(with_kept.format(0.8)), one(with_kept.format(0.7))
    high = one("SELECT count(*) // 2 FROM pairs WHERE jaccard >= 0.8")
    both = one(
        """SELECT count(*) // 2 FROM pairs p JOIN fate a ON a.row = p.i JOIN fate b ON b.row = p.j
        WHERE p.jaccard >= 0.8 AND a.kept AND b.kept"""
    )
    print(f"near-duplicates with letters of scripts without spaces: {left_out} removed, left out below")
    print(f"equal texts: {equal} removed, {texts} to be removed")
    print(f"near-duplicates: {near} removed, with a kept document of 0.8 or more {at_80}, of 0.7 or more {at_70}")
    print(f"pairs of 0.8 or more: {high}, both kept {both} ({both / max(high, 1):.2%})")
    return 0 if equal == texts and at_80 == near and both <= 0.01 * high else 1


if __name__ == "__main__":
    sys.exit(main())
