"""Holds a run's MinHash values against datatrove's: `make gold-signatures DOCS=… LABELS=…`.

    python gold_signatures.py RUN_DIR LABELS.parquet

LABELS has a row for each record of the one input file, in its order, with datatrove's values in minhash_sig; null for a record
without a shingle. Exits 1 if a value differs.
"""

import os
import sys

import duckdb


def main():
    labels = os.path.abspath(sys.argv[2])
    os.chdir(sys.argv[1])
    db = duckdb.connect()
    with open("views.sql", encoding="utf-8") as file:
        db.execute(file.read())
    records, same, values = db.execute(
        f"""SELECT count(*), count(*) FILTER (signature IS NOT DISTINCT FROM minhash_sig), sum(len(minhash_sig))
        FROM (SELECT ordinal, signature FROM documents JOIN signatures USING (doc_id))
        JOIN (SELECT row_number() OVER () - 1 AS ordinal, minhash_sig::UBIGINT[] AS minhash_sig FROM '{labels}') USING (ordinal)"""
    ).fetchone()
    print(f"records with datatrove's signature: {same} of {records}, {values} values")
    return 0 if same == records else 1


if __name__ == "__main__":
    sys.exit(main())
