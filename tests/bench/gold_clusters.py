"""Holds the components of a run against datatrove's clusters of the same file: `make gold-clusters DOCS=… CLUSTERS=…`.

    python gold_clusters.py RUN_DIR CLUSTERS.parquet

CLUSTERS has a line for each record of the one input file: row (records before it), cluster_id (-1: alone) and removed. Which
record of a cluster stays is another choice there, so clusters are compared, not removals. Exits 1 if a record differs.
"""

import os
import sys

import duckdb


def main():
    clusters = os.path.abspath(sys.argv[2])
    os.chdir(sys.argv[1])
    db = duckdb.connect()
    with open("views.sql", encoding="utf-8") as file:
        db.execute(file.read())
    # A cluster goes by its first record.
    ours = dict(
        db.execute(
            """SELECT ordinal::INTEGER, min(ordinal::INTEGER) OVER (PARTITION BY coalesce(kept_id, doc_id))
            FROM documents JOIN near_dedup USING (doc_id)"""
        ).fetchall()
    )
    theirs = dict(
        db.execute(
            f"""SELECT row, CASE cluster_id WHEN -1 THEN row ELSE min(row) OVER (PARTITION BY cluster_id) END
            FROM '{clusters}'"""
        ).fetchall()
    )
    removed = [sum(first != row for row, first in clusters.items()) for clusters in (ours, theirs)]
    found = [len(set(clusters.values())) for clusters in (ours, theirs)]
    differ = sorted(row for row in theirs if ours.get(row) != theirs[row])
    print(f"clusters and single documents: {found[0]}, datatrove {found[1]}; removable: {removed[0]}, datatrove {removed[1]}")
    print(f"records in another cluster: {len(differ)} of {len(theirs)} {differ[:20] or ''}")
    return 1 if differ or len(ours) != len(theirs) else 0


if __name__ == "__main__":
    sys.exit(main())
