//! The queryable columns: what can be asked of a journal without reading its records.
//!
//! The writer fills them in, as much as it knows, as often as it learns more: a column it leaves out keeps its value.
//! Rows are an index into the records and a convenience; the chain of hashes covers the records, not the rows.

use crate::record::wire::{Malformed, Reader, put_span, put_varint};
use crate::{Error, StreamId};

/// A value of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// What a column can hold.
pub(crate) trait Column: Sized {
    fn to_value(&self) -> Value;
    fn from_value(value: Value) -> Option<Self>;
}

impl Column for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl Column for StreamId {
    fn to_value(&self) -> Value {
        Value::Blob(self.0.to_vec())
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Blob(bytes) = value { Self::from_slice(&bytes) } else { None }
    }
}

impl Column for u64 {
    fn to_value(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(number) = value { number.try_into().ok() } else { None }
    }
}

impl Column for bool {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(number) = value { Some(number != 0) } else { None }
    }
}

/// One column of a table: its number in a spool, which never changes its meaning, and its name in SQL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnName {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
}

/// One of the tables that hold rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) key: &'static [ColumnName],
    pub(crate) columns: &'static [ColumnName],
}

impl Table {
    const ALL: [&'static Self; 4] = [&RunRow::TABLE, &StepRow::TABLE, &SessionRow::TABLE, &AttemptRow::TABLE];

    pub(crate) fn numbered(number: u8) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|table| table.number == number)
    }

    pub(crate) fn all_columns(&self) -> impl Iterator<Item = &'static ColumnName> {
        self.key.iter().chain(self.columns)
    }
}

/// A row of one particular table.
pub(crate) trait TableRow: Sized {
    const TABLE: Table;
    /// Every column that has a value, the key first.
    fn values(&self) -> Vec<(&'static ColumnName, Value)>;
    /// The row with the values that `value` gives by column name.
    fn from_values(value: impl FnMut(&'static str) -> Option<Value>) -> Option<Self>;
}

macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $row:ident, $table:literal = $table_number:literal,
        key { $($(#[$key_doc:meta])* $key_number:literal $key:ident: $key_type:ty,)+ }
        columns { $($(#[$column_doc:meta])* $number:literal $column:ident: $type:ty,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $row {
            $($(#[$key_doc])* pub $key: $key_type,)+
            $($(#[$column_doc])* pub $column: Option<$type>,)+
        }

        impl TableRow for $row {
            const TABLE: Table = Table {
                number: $table_number,
                name: $table,
                key: &[$(ColumnName { number: $key_number, name: stringify!($key) }),+],
                columns: &[$(ColumnName { number: $number, name: stringify!($column) }),+],
            };

            fn values(&self) -> Vec<(&'static ColumnName, Value)> {
                let given = [$(Some(self.$key.to_value()),)+ $(self.$column.as_ref().map(Column::to_value),)+];
                Self::TABLE.all_columns().zip(given).filter_map(|(name, value)| Some((name, value?))).collect()
            }

            fn from_values(mut value: impl FnMut(&'static str) -> Option<Value>) -> Option<Self> {
                Some(Self {
                    $($key: Column::from_value(value(stringify!($key))?)?,)+
                    $($column: match value(stringify!($column)) {
                        Some(value) => Some(Column::from_value(value)?),
                        None => None,
                    },)+
                })
            }
        }
    )+};
}

rows! {
    /// A unit of work with one id.
    RunRow, "runs" = 1,
    key {
        /// The id of its stream.
        1 id: StreamId,
    }
    columns {
        /// The name its user gave it.
        2 name: String,
        /// The run it is nested in.
        3 parent: StreamId,
        /// Whose it is, for billing and limits.
        4 tenant: String,
        /// For whom it was, for erasure.
        5 user: String,
        /// Where it stands.
        6 status: String,
        /// The class of the fault that ended it.
        7 fault: String,
        /// When it began, in milliseconds since 1970.
        8 started_at_ms: u64,
        /// How long it took.
        9 duration_ms: u64,
        /// The policy it ran under.
        10 policy_digest: String,
        /// The engine that ran it.
        11 engine_version: String,
        /// The run whose history it shares.
        12 forked_from: StreamId,
        /// Up to which record of that.
        13 forked_at: u64,
    }

    /// One model call, tool call, retrieval or function inside a run.
    StepRow, "steps" = 2,
    key {
        /// The id of its stream.
        1 id: StreamId,
    }
    columns {
        /// The run it belongs to.
        2 run: StreamId,
        /// The step it is nested in.
        3 parent: StreamId,
        /// Its name in the program.
        4 name: String,
        /// What it does: model, tool, retrieval or function.
        5 kind: String,
        /// What identifies it when the run is resumed.
        6 key: String,
        /// The digest of its input.
        7 input_digest: String,
        /// What makes its side effect happen once.
        8 idempotency_key: String,
        /// The session, where it is a model call.
        9 session: StreamId,
        /// Whose it is.
        10 tenant: String,
        /// For whom it was.
        11 user: String,
        /// Where it stands.
        12 status: String,
        /// The class of the fault that ended it.
        13 fault: String,
        /// When it began, in milliseconds since 1970.
        14 started_at_ms: u64,
        /// How long it took.
        15 duration_ms: u64,
    }

    /// One logical model call.
    SessionRow, "sessions" = 3,
    key {
        /// The id of its stream.
        1 id: StreamId,
    }
    columns {
        /// The run it belongs to.
        2 run: StreamId,
        /// The step it is.
        3 step: StreamId,
        /// The session inside whose attempt it was made.
        4 parent: StreamId,
        /// Whose it is.
        5 tenant: String,
        /// For whom it was.
        6 user: String,
        /// The target it was meant for.
        7 target: String,
        /// The target that answered.
        8 served_by: String,
        /// Where it stands.
        9 status: String,
        /// The class of the fault that ended it, or of the last one it survived.
        10 fault: String,
        /// How many attempts it took.
        11 attempts: u64,
        /// Whether a fallback answered.
        12 degraded: bool,
        /// Whether an answer was continued after a cut.
        13 continued: bool,
        /// Tokens asked with, over all attempts.
        14 input_tokens: u64,
        /// Tokens answered, over all attempts.
        15 output_tokens: u64,
        /// Tokens of attempts that did not count.
        16 wasted_tokens: u64,
        /// When it began, in milliseconds since 1970.
        17 started_at_ms: u64,
        /// How long until the first content.
        18 first_content_ms: u64,
        /// How long it took.
        19 duration_ms: u64,
        /// The policy it ran under.
        20 policy_digest: String,
        /// The engine that ran it.
        21 engine_version: String,
        /// What became of its record: "lost" where the journal failed.
        22 journal: String,
    }

    /// One physical call to one target.
    AttemptRow, "attempts" = 4,
    key {
        /// The session it belongs to.
        1 session: StreamId,
        /// Its number in the session.
        2 number: u64,
    }
    columns {
        /// The target it called.
        3 target: String,
        /// Where it stands.
        4 status: String,
        /// The class of the fault that ended it.
        5 fault: String,
        /// How it started: fresh, prefill, prompt or rerun.
        6 mode: String,
        /// The provider's own id for it.
        7 request_id: String,
        /// When it began, in milliseconds since 1970.
        8 started_at_ms: u64,
        /// How long until the first content.
        9 first_content_ms: u64,
        /// How long it took.
        10 duration_ms: u64,
        /// Tokens asked with.
        11 input_tokens: u64,
        /// Tokens answered.
        12 output_tokens: u64,
    }
}

/// A row of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// See [`RunRow`].
    Run(RunRow),
    /// See [`StepRow`].
    Step(StepRow),
    /// See [`SessionRow`].
    Session(SessionRow),
    /// See [`AttemptRow`].
    Attempt(AttemptRow),
}

/// The values of a row, whatever its table: what travels through the spool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowValues {
    pub(crate) table: u8,
    /// Column names of that table, and values; the key is among them.
    pub(crate) values: Vec<(&'static str, Value)>,
}

/// No text in a row may be longer: rows are for looking up, records for telling.
const TEXT_BYTES_MAX: usize = 4096;

impl Row {
    pub(crate) fn values(&self) -> Result<RowValues, Error> {
        let (table, values) = match self {
            Self::Run(row) => (RunRow::TABLE, row.values()),
            Self::Step(row) => (StepRow::TABLE, row.values()),
            Self::Session(row) => (SessionRow::TABLE, row.values()),
            Self::Attempt(row) => (AttemptRow::TABLE, row.values()),
        };
        let too_long =
            |(_, value): &(_, Value)| matches!(value, Value::Text(text) if text.len() > TEXT_BYTES_MAX);
        if values.iter().any(too_long) {
            return Err(Error::Invalid { what: "a text in a row exceeds 4096 bytes" });
        }
        let values = values.into_iter().map(|(column, value)| (column.name, value)).collect();
        Ok(RowValues { table: table.number, values })
    }
}

impl RowValues {
    /// Appends the table and, for each column, its number, its type and its value.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.table);
        let Some(table) = Table::numbered(self.table) else {
            return;
        };
        for (name, value) in &self.values {
            let Some(column) = table.all_columns().find(|column| column.name == *name) else {
                continue;
            };
            out.push(column.number);
            match value {
                Value::Integer(number) => {
                    out.push(0);
                    put_varint(out, number.cast_unsigned());
                }
                Value::Text(text) => {
                    out.push(1);
                    put_span(out, text.as_bytes());
                }
                Value::Blob(bytes) => {
                    out.push(2);
                    put_span(out, bytes);
                }
            }
        }
    }

    /// Reads what [`Self::put`] wrote. Columns of a later version are passed over; a table of one makes `None`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(bytes);
        let Some(table) = Table::numbered(reader.byte()?) else {
            return Ok(None);
        };
        let mut values = Vec::new();
        while !reader.is_empty() {
            let number = reader.byte()?;
            let value = match reader.byte()? {
                0 => Value::Integer(reader.varint()?.cast_signed()),
                1 => Value::Text(String::from_utf8(reader.span()?.to_vec()).map_err(|_| Malformed)?),
                2 => Value::Blob(reader.span()?.to_vec()),
                _ => return Err(Malformed),
            };
            if let Some(column) = table.all_columns().find(|column| column.number == number) {
                values.push((column.name, value));
            }
        }
        Ok(Some(Self { table: table.number, values }))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(column, _)| *column == name).map(|(_, value)| value)
    }
}

/// Which rows are wanted. An empty filter wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The one with this id.
    pub id: Option<StreamId>,
    /// Of this run.
    pub run: Option<StreamId>,
    /// Nested in this.
    pub parent: Option<StreamId>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// For this user.
    pub user: Option<String>,
    /// Meant for this target.
    pub target: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// With this fault.
    pub fault: Option<String>,
    /// Begun at this time or later.
    pub since_ms: Option<u64>,
    /// Begun before this time.
    pub until_ms: Option<u64>,
    /// Behind the end of the page before: [`Page::next`].
    pub after: Option<Cursor>,
    /// How many at most; 0 means 100.
    pub limit: usize,
}

/// The end of a page, from which the next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the last row of the page began.
    pub started_at_ms: u64,
    /// Its id.
    pub id: StreamId,
}

/// Some rows, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Cursor>,
}

impl Filter {
    /// The limit with its default and its ceiling.
    pub(crate) fn rows_max(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit.min(100_000) }
    }

    /// The conditions as column, comparison and value.
    fn conditions(&self) -> Vec<(&'static str, &'static str, Value)> {
        let text = |value: &Option<String>| value.as_ref().map(Column::to_value);
        let id = |value: &Option<StreamId>| value.as_ref().map(Column::to_value);
        let time = |value: &Option<u64>| value.as_ref().map(Column::to_value);
        let all = [
            ("id", "=", id(&self.id)),
            ("run", "=", id(&self.run)),
            ("parent", "=", id(&self.parent)),
            ("tenant", "=", text(&self.tenant)),
            ("user", "=", text(&self.user)),
            ("target", "=", text(&self.target)),
            ("status", "=", text(&self.status)),
            ("fault", "=", text(&self.fault)),
            ("started_at_ms", ">=", time(&self.since_ms)),
            ("started_at_ms", "<", time(&self.until_ms)),
        ];
        all.into_iter().filter_map(|(column, comparison, value)| Some((column, comparison, value?))).collect()
    }

    /// The conditions that `table` can answer.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it has no such column: a condition that is passed over would give wrong answers.
    pub(crate) fn conditions_on(
        &self,
        table: &Table,
    ) -> Result<Vec<(&'static str, &'static str, Value)>, Error> {
        let conditions = self.conditions();
        let known = |name: &str| table.all_columns().any(|column| column.name == name);
        if conditions.iter().all(|(name, _, _)| known(name)) {
            Ok(conditions)
        } else {
            Err(Error::Invalid { what: "the filter names a column that these rows do not have" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionRow {
        SessionRow {
            id: StreamId([1; 16]),
            tenant: Some("acme".to_owned()),
            degraded: Some(true),
            input_tokens: Some(12),
            ..SessionRow::default()
        }
    }

    #[test]
    fn a_row_travels_through_the_spool() {
        let values = Row::Session(session()).values().unwrap();
        let mut bytes = Vec::new();
        values.put(&mut bytes);
        let read = RowValues::read(&bytes).unwrap().unwrap();
        assert_eq!(read, values);
        assert_eq!(SessionRow::from_values(|name| read.get(name).cloned()), Some(session()));
    }

    #[test]
    fn what_a_later_version_added_is_passed_over() {
        let mut bytes = Vec::new();
        Row::Session(session()).values().unwrap().put(&mut bytes);
        bytes.extend_from_slice(&[200, 1, 2, b'h', b'i']);
        assert_eq!(RowValues::read(&bytes).unwrap().unwrap(), Row::Session(session()).values().unwrap());
        assert_eq!(RowValues::read(&[99, 1, 2]), Ok(None));
    }

    /// A number written by one version must mean the same to every later one.
    #[test]
    fn no_two_columns_share_a_number() {
        for table in Table::ALL {
            let mut numbers: Vec<_> = table.all_columns().map(|column| column.number).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{}", table.name);
        }
    }

    #[test]
    fn a_filter_that_a_table_cannot_answer_is_refused() {
        let filter = Filter { target: Some("m".to_owned()), ..Filter::default() };
        assert!(filter.conditions_on(&SessionRow::TABLE).is_ok());
        assert!(filter.conditions_on(&RunRow::TABLE).is_err());
    }

    #[test]
    fn a_long_text_is_refused() {
        let row = RunRow { name: Some("x".repeat(5000)), ..RunRow::default() };
        assert!(Row::Run(row).values().is_err());
    }
}
