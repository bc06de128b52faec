//! The tables, as numbered migrations. `docs/journal-schema.md` explains them to whoever opens the file with SQL.

/// "L0J1": how `file` and SQLite tell a journal from any other database.
pub(crate) const APPLICATION_ID: i32 = 0x4c30_4a31;

/// Each brings the schema from its index to the next number. None is ever changed once released.
pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE streams (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    kind INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    records INTEGER NOT NULL DEFAULT 0,
    salt BLOB,
    tenant TEXT,
    user TEXT,
    removed INTEGER
) STRICT;

CREATE TABLE blocks (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    records INTEGER NOT NULL,
    after_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    marks BLOB,
    body BLOB,
    content BLOB,
    body_hash BLOB,
    content_hash BLOB
) STRICT;
CREATE UNIQUE INDEX blocks_of_stream ON blocks (stream, number);

CREATE TABLE runs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT,
    parent BLOB,
    tenant TEXT,
    user TEXT,
    status TEXT,
    fault TEXT,
    started_at_ms INTEGER NOT NULL DEFAULT 0,
    duration_ms INTEGER,
    policy_digest TEXT,
    engine_version TEXT,
    forked_from BLOB,
    forked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs (started_at_ms, id);

CREATE TABLE steps (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    run BLOB,
    parent BLOB,
    name TEXT,
    kind TEXT,
    key TEXT,
    input_digest TEXT,
    idempotency_key TEXT,
    session BLOB,
    tenant TEXT,
    user TEXT,
    status TEXT,
    fault TEXT,
    started_at_ms INTEGER NOT NULL DEFAULT 0,
    duration_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_of_run ON steps (run, started_at_ms, id);
CREATE INDEX steps_by_time ON steps (started_at_ms, id);

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    run BLOB,
    step BLOB,
    parent BLOB,
    tenant TEXT,
    user TEXT,
    target TEXT,
    served_by TEXT,
    status TEXT,
    fault TEXT,
    attempts INTEGER,
    degraded INTEGER,
    continued INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    wasted_tokens INTEGER,
    started_at_ms INTEGER NOT NULL DEFAULT 0,
    first_content_ms INTEGER,
    duration_ms INTEGER,
    policy_digest TEXT,
    engine_version TEXT,
    journal TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (started_at_ms, id);
CREATE INDEX sessions_of_run ON sessions (run, started_at_ms, id) WHERE run IS NOT NULL;
CREATE INDEX sessions_of_tenant ON sessions (tenant, started_at_ms, id) WHERE tenant IS NOT NULL;
CREATE INDEX sessions_of_user ON sessions (user, started_at_ms, id) WHERE user IS NOT NULL;
CREATE INDEX sessions_of_target ON sessions (target, started_at_ms, id) WHERE target IS NOT NULL;
CREATE INDEX sessions_with_fault ON sessions (fault, started_at_ms, id) WHERE fault IS NOT NULL;
CREATE INDEX sessions_with_status ON sessions (status, started_at_ms, id) WHERE status IS NOT NULL;

CREATE TABLE attempts (
    session BLOB NOT NULL,
    number INTEGER NOT NULL,
    target TEXT,
    status TEXT,
    fault TEXT,
    mode TEXT,
    request_id TEXT,
    started_at_ms INTEGER NOT NULL DEFAULT 0,
    first_content_ms INTEGER,
    duration_ms INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    run BLOB NOT NULL PRIMARY KEY CHECK (length(run) = 16),
    fence INTEGER NOT NULL,
    holder BLOB,
    host TEXT NOT NULL,
    beat INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"];

/// The number of the schema this version writes.
pub(crate) fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{AttemptRow, RunRow, SessionRow, StepRow, TableRow};

    /// The columns the rows name are the columns the tables have.
    #[test]
    fn rows_and_tables_agree() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        for table in [RunRow::TABLE, StepRow::TABLE, SessionRow::TABLE, AttemptRow::TABLE] {
            let mut statement =
                connection.prepare(&format!("SELECT name FROM pragma_table_info('{}')", table.name)).unwrap();
            let found: Vec<String> =
                statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let named: Vec<_> = table.all_columns().map(|column| column.name).collect();
            assert_eq!(found, named, "{}", table.name);
        }
    }

    /// What the page on the schema says is what there is: every table and column is on it, and its queries run.
    #[test]
    fn the_page_on_the_schema_is_true() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/journal-schema.md");
        let page = std::fs::read_to_string(page).unwrap();
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        let sql = "SELECT t.name, c.name FROM pragma_table_list t JOIN pragma_table_info(t.name) c
            WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut count = 0;
        for (table, column) in columns.map(Result::<(String, String), _>::unwrap) {
            assert!(page.contains(&format!("**`{table}`**")), "{table} is not on the page");
            // `meta` is a table of names and values, which are on the page instead.
            assert!(
                table == "meta" || page.contains(&format!("`{column}`")),
                "{table}.{column} is not on the page"
            );
            count += 1;
        }
        assert!(count > 60, "{count}");
        let queries = page.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let queries: Vec<_> = queries.split(';').filter(|query| !query.trim().is_empty()).collect();
        assert!(queries.len() > 2);
        for query in queries {
            connection.prepare(query).unwrap();
        }
    }
}
