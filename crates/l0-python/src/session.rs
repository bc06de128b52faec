//! A session, as a driver calls it.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use l0_engine as engine;
use l0_journal::Recorder;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::fault::{self, Fault};
use crate::fleet::Report;
use crate::journal::{JournalStream, JournalTicket, fail};
use crate::log::{DivergenceTuple, Log, SessionLog};
use crate::outcome::{Objection, Outcome, Splice, ToolCall, mode};
use crate::policy::Policy;
use crate::text::{odd_text, text};

/// One logical call: attempts go in, one clean stream comes out. See the engine's documentation for the contract.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Session(Mutex<State>);

struct State {
    engine: engine::Session,
    recorder: Option<Recorder>,
    again: Option<Again>,
}

/// A session that is being decided again, and the record that comes next.
struct Again {
    log: Arc<Log>,
    place: usize,
}

/// Tells the driver to pass a chunk on, once what it has to wait for is on disk.
const SETTLE: u8 = 4;

/// What an attempt is to be begun with.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct Opening {
    /// The attempt.
    attempt: u32,
    /// Its target's place in the list.
    target: u32,
    /// How it is begun.
    mode: &'static str,
    /// The text to go on from.
    prefix: String,
    /// The text the consumer has been given.
    shown: String,
    /// The words to repeat.
    anchor: String,
    /// What to ask.
    instruction: String,
    /// The target's last answer, where it is told what was wrong with it.
    rejected: String,
    /// What was wrong with it.
    errors: Vec<String>,
    /// Tokens the consumer has been given, about.
    tokens_shown: u64,
    /// Seconds left for the whole session.
    time_left: f64,
    /// Whether one clock runs from its beginning to the end of its answer.
    whole: bool,
}

/// What the caller's own guards are to be asked.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct Checking {
    /// The attempt.
    attempt: u32,
    /// Its target's place in the list.
    target: u32,
    /// The number of the question.
    check: u32,
    /// Whether the answer is at its end.
    at_end: bool,
    /// The guards that are shown `window`, by their place in the policy's list.
    on_window: Vec<u16>,
    /// The new text, with some of what stands before it.
    window: String,
    /// The guards that are shown `whole`; none before the end.
    on_whole: Vec<u16>,
    /// All of the answer's text.
    whole: String,
    /// The answer's tool calls, at the end: index, id, name, arguments as they arrived.
    calls: Vec<(u32, Option<String>, String, String)>,
}

/// What a guard objects to: its place in the list, for what reason, and what is to be put right.
type DissentTuple<'py> = (u16, Bound<'py, PyString>, Vec<Bound<'py, PyString>>);

/// What a guard has read: its place in the list, where the answer does not fit, what was put right, and what is given
/// in the place of its text and of its calls' arguments.
type ReadingTuple<'py> = (
    u16,
    Vec<Bound<'py, PyString>>,
    Vec<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
    Vec<(u32, Bound<'py, PyString>)>,
);

fn strings(texts: &[Bound<'_, PyString>]) -> PyResult<Vec<String>> {
    texts.iter().map(|one| Ok(text(one)?.into_owned())).collect()
}

fn dissent((guard, reason, errors): DissentTuple<'_>) -> PyResult<engine::Dissent> {
    Ok(engine::Dissent { guard, reason: text(&reason)?.into_owned(), errors: strings(&errors)? })
}

fn reading(
    (guard, fields, fixes, whole, calls): ReadingTuple<'_>,
    dissents: Vec<engine::Dissent>,
) -> PyResult<engine::Reading> {
    let whole = whole.map(|whole| PyResult::Ok(engine::Rewrite::Text(text(&whole)?.into_owned())));
    let calls = calls.into_iter().map(|(index, args)| {
        Ok(engine::Rewrite::Args(engine::CallArgs { index, args: text(&args)?.into_owned() }))
    });
    let rewrites = whole.into_iter().chain(calls).collect::<PyResult<_>>()?;
    Ok(engine::Reading { dissents, guard, fields: strings(&fields)?, fixes: strings(&fixes)?, rewrites })
}

fn misuse(misuse: engine::Misuse) -> PyErr {
    PyRuntimeError::new_err(misuse.to_string())
}

type TargetTuple = (
    String,
    Option<String>,
    String,
    bool,
    Option<bool>,
    bool,
    bool,
    Option<u64>,
    Option<String>,
    Option<String>,
);

fn target(declared: TargetTuple) -> PyResult<engine::Target> {
    let (name, credentials, terminal, reasons, prefill, native, whole, context_window, quality, cost) =
        declared;
    let terminal = match terminal.as_str() {
        "end_of_stream" => engine::Terminal::EndOfStream,
        "finish_reason" => engine::Terminal::FinishReason,
        "status" => engine::Terminal::Status,
        _ => {
            let problem = format!("must be end_of_stream, finish_reason or status, not {terminal:?}");
            return Err(PyValueError::new_err((format!("terminal of target {name:?}"), problem)));
        }
    };
    let prefill = match prefill {
        Some(true) => engine::Prefill::Yes,
        Some(false) => engine::Prefill::No,
        None => engine::Prefill::Untold,
    };
    Ok(engine::Target {
        name,
        credentials,
        terminal,
        reasons,
        prefill,
        native,
        whole,
        context_window,
        quality,
        cost,
    })
}

type FragmentTuple = (u32, Option<String>, Option<String>, String, bool);

impl From<engine::Session> for Session {
    fn from(engine: engine::Session) -> Self {
        Self(Mutex::new(State { engine, recorder: None, again: None }))
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, State> {
        match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            // Whoever has it may be writing to a store of the caller's own, which needs Python to come to an end.
            Err(TryLockError::WouldBlock) => {
                Python::attach(|py| self.0.lock_py_attached(py)).unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    fn apply(&self, now: u64, input: engine::Input) -> PyResult<Option<engine::Signal>> {
        let signal = self.lock().apply(engine::Instant(now), input, None);
        signal.map_err(misuse)
    }
}

impl State {
    fn apply(
        &mut self,
        now: engine::Instant,
        input: engine::Input,
        object: Option<&[u8]>,
    ) -> Result<Option<engine::Signal>, engine::Misuse> {
        let signal = self.engine.apply(now, input)?;
        if let Some(recorder) = &mut self.recorder {
            recorder.write(now, self.engine.drain_records(), object);
        }
        Ok(signal)
    }

    fn chunk(
        &mut self,
        now: engine::Instant,
        attempt: engine::AttemptId,
        text: &str,
        object: Option<&[u8]>,
    ) -> u8 {
        let signal = self.engine.handle_chunk(now, attempt, text);
        let Some(recorder) = &mut self.recorder else { return signal as u8 };
        recorder.write(now, self.engine.drain_records(), object);
        recorder.heard(attempt, now);
        if signal == engine::Signal::Pass && recorder.must_settle() { SETTLE } else { signal as u8 }
    }

    /// Puts the next recorded input in, and compares what is decided now with what was recorded after it.
    fn step_again(&mut self) -> Result<Option<Fed>, engine::Divergence> {
        let Some(again) = &mut self.again else { return Ok(None) };
        let Some(record) = again.log.records.get(again.place) else { return Ok(None) };
        let first = again.place;
        let signal = match record {
            engine::Record::Chunk { at, attempt, text, .. } => {
                Some(self.engine.handle_chunk(*at, *attempt, text))
            }
            // What the session refuses it does not record, which is noticed below.
            engine::Record::Input { at, input, .. } => self.engine.apply(*at, input.clone()).unwrap_or(None),
            other => {
                return Err(engine::Divergence {
                    record: first,
                    recorded: Some(Box::new(other.clone())),
                    decided: None,
                });
            }
        };
        let mut decided = self.engine.take_records().into_iter();
        if decided.len() == 0 {
            return Err(engine::Divergence {
                record: first,
                recorded: Some(Box::new(record.clone())),
                decided: None,
            });
        }
        while let Some(next) = decided.next() {
            match again.log.records.get(again.place) {
                Some(recorded) if *recorded == next => again.place += 1,
                // The process died between an input and what it led to, which is still to be written.
                None => {
                    self.engine.put_back(std::iter::once(next).chain(decided));
                    break;
                }
                Some(recorded) => {
                    let (recorded, decided) = (Some(Box::new(recorded.clone())), Some(Box::new(next)));
                    return Err(engine::Divergence { record: again.place, recorded, decided });
                }
            }
        }
        Ok(Some(Fed { place: first, signal }))
    }
}

/// A recorded input that was put in again.
struct Fed {
    place: usize,
    signal: Option<engine::Signal>,
}

/// An input that was put in again: when, the engine's answer to a chunk, its attempt, text, object; whether it is the
/// beginning of another process.
type FedTuple<'py> =
    (u64, Option<u8>, Option<u32>, Option<Bound<'py, PyString>>, Option<Bound<'py, PyBytes>>, bool);

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (policy, targets, *, seed, streamed = true, deadline = None, stream = None, closes = false))]
    fn new(
        policy: &Policy,
        targets: Vec<TargetTuple>,
        seed: u64,
        streamed: bool,
        deadline: Option<u64>,
        stream: Option<&JournalStream>,
        closes: bool,
    ) -> PyResult<Self> {
        let targets = targets.into_iter().map(target).collect::<PyResult<_>>()?;
        let deadline = deadline.map(engine::Instant);
        let policy = Arc::clone(&policy.engine);
        let plan = engine::Plan { policy, targets, seed, streamed, deadline, recorded: stream.is_some() };
        match engine::Session::new(Arc::new(plan)) {
            Ok(engine) => {
                let recorder = stream.map(|to| Recorder::new(to.stream.clone(), to.store.clone(), closes));
                Ok(Self(Mutex::new(State { engine, recorder, again: None })))
            }
            Err(error) => Err(PyValueError::new_err((error.field, error.problem))),
        }
    }

    /// A session that is to be decided again from its records, one `next_again` after the other; else the first record
    /// that differs.
    #[staticmethod]
    fn again(log: &SessionLog, policy: &Policy) -> (Option<Self>, Option<DivergenceTuple>) {
        let log = Arc::clone(&log.0);
        let first = log.records.get(..1).unwrap_or_default();
        match engine::replay(Arc::clone(&policy.engine), first) {
            Ok(engine) => {
                let again = Some(Again { log, place: 1 });
                (Some(Self(Mutex::new(State { engine, recorder: None, again }))), None)
            }
            Err(found) => (None, Some(log.divergence(&found))),
        }
    }

    /// Puts the next recorded input in; nothing when there is none, the first record that differs where one does.
    fn next_again<'py>(&self, py: Python<'py>) -> (Option<FedTuple<'py>>, Option<DivergenceTuple>) {
        let mut state = self.lock();
        let fed = state.step_again();
        let Some(Again { log, .. }) = &state.again else { return (None, None) };
        let fed = match fed {
            Ok(Some(fed)) => fed,
            Ok(None) => return (None, None),
            Err(found) => return (None, Some(log.divergence(&found))),
        };
        let (Some(record), Some(beside)) = (log.records.get(fed.place), log.beside.get(fed.place)) else {
            return (None, None);
        };
        let (at, attempt, text) = match record {
            engine::Record::Chunk { at, attempt, text, .. } => (*at, Some(*attempt), Some(&**text)),
            engine::Record::Input { at, input: engine::Input::Part { attempt, part, .. }, .. } => {
                (*at, Some(*attempt), Some(part.text.as_str()))
            }
            engine::Record::Input { at, .. } => (*at, None, None),
            engine::Record::Start(_) | engine::Record::Decision(_) => return (None, None),
        };
        let text = text.map(|text| PyString::new(py, text));
        let object = beside.object.as_ref().map(|object| PyBytes::new(py, object));
        let signal = fed.signal.map(|signal| signal as u8);
        let resumes = matches!(record, engine::Record::Input { input: engine::Input::Resume, .. });
        (Some((at.0, signal, attempt.map(|id| id.0), text, object, resumes)), None)
    }

    /// Goes on being written down, after it was decided again: first what the record lacks.
    #[pyo3(signature = (now, stream, closes = false))]
    fn attach(&self, now: u64, stream: &JournalStream, closes: bool) {
        let mut state = self.lock();
        let mut recorder = Recorder::new(stream.stream.clone(), stream.store.clone(), closes);
        recorder.write(engine::Instant(now), state.engine.drain_records(), None);
        state.again = None;
        state.recorder = Some(recorder);
    }

    /// Begins what has to be on disk before anything is released.
    fn start_barrier(&self, py: Python<'_>) {
        py.detach(|| {
            if let Some(recorder) = &mut self.lock().recorder {
                recorder.start_barrier();
            }
        });
    }

    /// What the next release has to wait for, if anything; tell the answer to `settled`.
    fn unsettled(&self) -> Option<JournalTicket> {
        self.lock().recorder.as_mut().and_then(Recorder::unsettled).map(JournalTicket)
    }

    /// What was waited for has its answer, or will have none in time.
    fn settled(&self, ticket: &JournalTicket) {
        if let Some(recorder) = &mut self.lock().recorder {
            recorder
                .settled(ticket.0.poll().unwrap_or(Err(l0_journal::Error::Busy { doing: "sync in time" })));
        }
    }

    /// Why it is no longer written down, if it is not.
    #[getter]
    fn lost(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let state = self.lock();
        let error = state.recorder.as_ref().and_then(Recorder::lost).cloned()?;
        drop(state);
        Some(fail(error).into_value(py).into_any())
    }

    /// When the first content of each attempt arrived: attempt, nanoseconds.
    #[getter]
    fn firsts(&self) -> Vec<(u32, u64)> {
        self.lock().recorder.as_ref().map(|recorder| recorder.firsts().to_vec()).unwrap_or_default()
    }

    /// Checks what the model would be given, before `start`: an objection ends the session as it begins.
    #[expect(clippy::needless_pass_by_value, reason = "what Python's list is read into")]
    fn inputs(&self, now: u64, texts: Vec<Bound<'_, PyString>>) -> PyResult<()> {
        let texts = texts.iter().map(text).collect::<PyResult<Vec<_>>>()?;
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let mut state = self.lock();
        let state = &mut *state;
        state.engine.handle_inputs(engine::Instant(now), &texts).map_err(misuse)?;
        if let Some(recorder) = &mut state.recorder {
            recorder.write(engine::Instant(now), state.engine.drain_records(), None);
        }
        Ok(())
    }

    fn start(&self, now: u64) -> PyResult<()> {
        self.apply(now, engine::Input::Start).map(drop)
    }

    /// The fleet's answer, as `Fleet.ask` gave it.
    fn admitted(&self, now: u64, kind: u8, value: u64) -> PyResult<()> {
        let admission = match kind {
            0 => engine::Admission::Granted,
            1 => engine::Admission::OverBudget,
            _ => engine::Admission::BreakerOpen { reopens_in: value },
        };
        self.apply(now, engine::Input::Admitted(admission)).map(drop)
    }

    fn opened(&self, now: u64, attempt: u32) -> PyResult<()> {
        self.apply(now, engine::Input::Opened(engine::AttemptId(attempt))).map(drop)
    }

    /// The hot path: a chunk of plain text, and the object it came in. 0 pass, 1 hold, 2 drain, 3 skip, 4 settle and pass.
    #[pyo3(signature = (now, attempt, text, written = None))]
    fn chunk(
        &self,
        now: u64,
        attempt: u32,
        text: &Bound<'_, PyString>,
        written: Option<&Bound<'_, PyBytes>>,
    ) -> PyResult<u8> {
        let (now, attempt) = (engine::Instant(now), engine::AttemptId(attempt));
        let object = written.map(PyBytesMethods::as_bytes);
        if let Ok(text) = text.to_str() {
            return Ok(self.lock().chunk(now, attempt, text, object));
        }
        // Half a surrogate pair is no text: what the consumer gets is written down beside it.
        let exact = if object.is_none() { Some(odd_text(text)?) } else { None };
        let text = self::text(text)?;
        Ok(self.lock().chunk(now, attempt, &text, object.or(exact.as_deref())))
    }

    /// A chunk that is more, or less, than plain text; its read had been pending for `waited` nanoseconds.
    #[pyo3(signature = (
        now, attempt, waited, text, reasoning, tools, opaque, finish, status, usage, logprob, sequence, written = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "one call a chunk, and no object built for it")]
    fn part(
        &self,
        now: u64,
        attempt: u32,
        waited: u64,
        text: &Bound<'_, PyString>,
        reasoning: bool,
        tools: Vec<FragmentTuple>,
        opaque: Option<(u64, bool)>,
        finish: Option<String>,
        status: Option<String>,
        usage: Option<(u64, u64, u64, u64, u64)>,
        logprob: Option<(f64, u64)>,
        sequence: Option<u64>,
        written: Option<&Bound<'_, PyBytes>>,
    ) -> PyResult<u8> {
        let fragment = |(index, id, name, args, last)| engine::ToolFragment { index, id, name, args, last };
        let part = engine::Part {
            text: self::text(text)?.into_owned(),
            reasoning,
            tools: tools.into_iter().map(fragment).collect(),
            opaque: opaque.map(|(digest, open)| engine::Opaque { digest, open }),
            finish,
            status,
            usage: usage.map(|(input, output, reasoning, cache_read, cache_write)| engine::Usage {
                input,
                output,
                reasoning,
                cache_read,
                cache_write,
            }),
            logprob: logprob.map(|(sum, tokens)| engine::LogProb { sum, tokens }),
            sequence,
        };
        let attempt = engine::AttemptId(attempt);
        let (now, is_content) = (engine::Instant(now), part.is_content());
        let mut state = self.lock();
        let input = engine::Input::Part { attempt, waited, part };
        let signal = state.apply(now, input, written.map(PyBytesMethods::as_bytes)).map_err(misuse)?;
        let signal = signal.unwrap_or(engine::Signal::Skip);
        let Some(recorder) = &mut state.recorder else { return Ok(signal as u8) };
        if is_content {
            recorder.heard(attempt, now);
        }
        let waits = signal == engine::Signal::Pass && recorder.must_settle();
        Ok(if waits { SETTLE } else { signal as u8 })
    }

    fn ended(&self, now: u64, attempt: u32) -> PyResult<()> {
        self.apply(now, engine::Input::Ended(engine::AttemptId(attempt))).map(drop)
    }

    /// An attempt failed: what was read off its exception as JSON, and its message, which is looked at and not kept.
    fn failed(
        &self,
        now: u64,
        attempt: u32,
        facts_json: &str,
        message: &Bound<'_, PyString>,
    ) -> PyResult<()> {
        let facts = fault::facts(facts_json, &text(message)?)?;
        let attempt = engine::AttemptId(attempt);
        self.apply(now, engine::Input::Failed { attempt, facts }).map(drop)
    }

    /// What the caller's own guards are being asked, if anything.
    fn checking(&self) -> Option<Checking> {
        let state = self.lock();
        let checking = state.engine.checking()?;
        Some(Checking {
            attempt: checking.attempt.0,
            target: checking.target.0,
            check: checking.check,
            at_end: checking.at_end,
            on_window: checking.on_window,
            window: checking.window,
            on_whole: checking.on_whole,
            whole: checking.whole,
            calls: checking
                .calls
                .into_iter()
                .map(|(index, call)| (index, call.id, call.name, call.args))
                .collect(),
        })
    }

    /// The caller's own guards have answered: which object, and what one of them has read.
    #[pyo3(signature = (now, attempt, check, dissents, read = None))]
    fn judged(
        &self,
        now: u64,
        attempt: u32,
        check: u32,
        dissents: Vec<DissentTuple<'_>>,
        read: Option<ReadingTuple<'_>>,
    ) -> PyResult<()> {
        let dissents = dissents.into_iter().map(dissent).collect::<PyResult<_>>()?;
        let ruling = match read {
            Some(read) => engine::Ruling::Read(reading(read, dissents)?),
            None => engine::Ruling::Objected(dissents),
        };
        let attempt = engine::AttemptId(attempt);
        self.apply(now, engine::Input::Judged { attempt, check, ruling }).map(drop)
    }

    /// One of the caller's own guards could not say: what was read off its exception.
    fn unjudged(&self, now: u64, attempt: u32, check: u32, facts_json: &str) -> PyResult<()> {
        let ruling = engine::Ruling::Failed(fault::facts(facts_json, "")?);
        let attempt = engine::AttemptId(attempt);
        self.apply(now, engine::Input::Judged { attempt, check, ruling }).map(drop)
    }

    #[pyo3(signature = (now, waited = None))]
    fn timeout(&self, now: u64, waited: Option<u64>) -> PyResult<()> {
        let waited = waited.map(Duration::from_nanos);
        let now = engine::Instant(now);
        let mut state = self.lock();
        let state = &mut *state;
        state.engine.handle_timeout(now, waited).map_err(misuse)?;
        if let Some(recorder) = &mut state.recorder {
            recorder.write(now, state.engine.drain_records(), None);
        }
        Ok(())
    }

    fn cancel(&self, now: u64) -> PyResult<()> {
        self.apply(now, engine::Input::Cancel).map(drop)
    }

    fn resume(&self, now: u64) -> PyResult<()> {
        self.apply(now, engine::Input::Resume).map(drop)
    }

    /// The next thing to do, as a tuple that begins with its name; `None` when there is nothing.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let output = self.lock().engine.poll_output();
        output.map(|output| output_tuple(py, output)).transpose()
    }

    /// When `timeout` is due, given when the pending read began, if one is pending.
    #[pyo3(signature = (reading = None))]
    fn poll_timeout(&self, reading: Option<u64>) -> Option<u64> {
        self.lock().engine.poll_timeout(reading.map(engine::Instant)).map(|at| at.0)
    }

    fn opening(&self) -> Option<Opening> {
        let state = self.lock();
        let opening = state.engine.opening()?;
        Some(Opening {
            attempt: opening.attempt.0,
            target: opening.target.0,
            mode: mode(opening.mode),
            prefix: opening.prefix.to_owned(),
            shown: opening.shown.to_owned(),
            anchor: opening.anchor.to_owned(),
            instruction: opening.instruction.into_owned(),
            rejected: opening.rejected.to_owned(),
            errors: opening.errors.to_vec(),
            tokens_shown: opening.tokens_shown,
            time_left: opening.time_left.as_secs_f64(),
            whole: opening.whole,
        })
    }

    /// Where it stands: idle, asking, waiting, opening, reading or done.
    #[getter]
    fn state(&self) -> &'static str {
        match self.lock().engine.state() {
            engine::SessionState::Idle => "idle",
            engine::SessionState::Asking => "asking",
            engine::SessionState::Waiting => "waiting",
            engine::SessionState::Opening => "opening",
            engine::SessionState::Reading => "reading",
            engine::SessionState::Done => "done",
        }
    }

    /// The text the consumer has been given.
    #[getter]
    fn text(&self) -> String {
        self.lock().engine.text().to_owned()
    }

    /// The tool calls the consumer has been given.
    #[getter]
    fn tool_calls(&self) -> Vec<ToolCall> {
        self.lock().engine.tool_calls().map(ToolCall::from).collect()
    }

    /// What went wrong so far.
    #[getter]
    fn faults(&self) -> Vec<Fault> {
        self.lock().engine.faults().iter().map(Fault::from).collect()
    }

    /// How it ended, once it has.
    #[getter]
    fn outcome(&self) -> Option<Outcome> {
        self.lock().engine.outcome().map(|outcome| Outcome(Arc::new(outcome.clone())))
    }

    /// Nanoseconds of the shortest clock it can run by: a timer that rings as often misses none.
    #[getter]
    fn shortest_clock(&self) -> u64 {
        u64::try_from(self.lock().engine.plan().policy.timeouts.shortest().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment it must have ended.
    #[getter]
    fn deadline(&self) -> u64 {
        self.lock().engine.deadline().0
    }
}

fn output_tuple(py: Python<'_>, output: engine::Output) -> PyResult<Bound<'_, PyTuple>> {
    use engine::Output as O;
    match output {
        O::Ask { target, purpose, force } => {
            let purpose = match purpose {
                engine::Purpose::First => 0u8,
                engine::Purpose::Retry => 1,
                engine::Purpose::RetryThrottled => 2,
            };
            ("ask", target.0, purpose, force).into_pyobject(py)
        }
        O::Open { attempt, target, mode } => {
            ("open", attempt.0, target.0, self::mode(mode)).into_pyobject(py)
        }
        O::Check { attempt, check } => ("check", attempt.0, check).into_pyobject(py),
        O::Wait { until } => ("wait", until.0).into_pyobject(py),
        O::Cancel { attempt } => ("cancel", attempt.0).into_pyobject(py),
        O::Release { chunks } => ("release", chunks).into_pyobject(py),
        O::Cut { start, end } => ("cut", start, end).into_pyobject(py),
        O::Mask { text, at } => ("mask", text, at).into_pyobject(py),
        O::Rewrite { text, at, calls } => {
            let calls: Vec<_> = calls.into_iter().map(|call| (call.index, call.args)).collect();
            ("rewrite", text, at, calls).into_pyobject(py)
        }
        O::Drop { chunks } => ("drop", chunks).into_pyobject(py),
        O::Reset => ("reset",).into_pyobject(py),
        O::Report { target, outcome } => ("report", target.0, Report(outcome)).into_pyobject(py),
        O::Event(event) => event_tuple(py, &event),
        O::Done => ("done",).into_pyobject(py),
    }
}

const fn drift(signal: engine::guards::Signal) -> &'static str {
    match signal {
        engine::guards::Signal::Repetition => "repetition",
        engine::guards::Signal::Format => "format",
        engine::guards::Signal::Script => "script",
        engine::guards::Signal::Length => "length",
    }
}

fn event_tuple<'py>(py: Python<'py>, event: &engine::Event) -> PyResult<Bound<'py, PyTuple>> {
    use engine::Event as E;
    match event {
        E::Fault(fault) => ("event", "fault", Fault::from(fault)).into_pyobject(py),
        E::Retry { target, mode, wait } => {
            ("event", "retry", target.0, self::mode(*mode), *wait).into_pyobject(py)
        }
        E::Fallback { from, to } => ("event", "fallback", from.0, to.0).into_pyobject(py),
        E::Splice(splice) => ("event", "splice", Splice::from(splice)).into_pyobject(py),
        E::Guard(objection) => ("event", "guard", Objection::from(objection)).into_pyobject(py),
        E::Drift { signal, score_permille } => {
            ("event", "drift", drift(*signal), *score_permille).into_pyobject(py)
        }
        E::ToolCall { number } => ("event", "tool_call", *number).into_pyobject(py),
        E::Misfit { target, fields } => ("event", "misfit", target.0, fields.clone()).into_pyobject(py),
        E::ReasoningAbandoned { attempt } => ("event", "reasoning_abandoned", attempt.0).into_pyobject(py),
    }
}
