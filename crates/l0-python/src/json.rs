//! JSON as models write it: repaired, or read while it is still being written.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard};

use l0_engine::json as engine;
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString};

use crate::text::text;

// Python shows signatures as they are written: the number stands where the constant would be.
const _: () = assert!(engine::MAX_DEPTH == 512);

create_exception!(
    l0_core.json,
    Unrepairable,
    PyValueError,
    "There is no JSON in the text, not even a broken beginning of it, or it is nested too deep."
);

/// One edit that made a text JSON. It names what was put right and never quotes the text.
#[pyclass(frozen, get_all, eq, hash, module = "l0_core.json")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Change {
    /// What was put right, as a fixed word.
    fix: &'static str,
    /// The character of the input where it was wrong, or where something was missing.
    at: usize,
}

#[pymethods]
impl Change {
    fn __repr__(&self) -> String {
        format!("Change(fix={:?}, at={})", self.fix, self.at)
    }
}

/// JSON, and what was done to make it so.
#[pyclass(frozen, module = "l0_core.json")]
pub(crate) struct Repaired {
    text: Py<PyString>,
    changes: Vec<(engine::Fix, usize)>,
    changes_omitted: usize,
    cut: bool,
    value: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl Repaired {
    /// The document; the input itself where that was JSON.
    #[getter]
    fn text(&self, py: Python<'_>) -> Py<PyString> {
        self.text.clone_ref(py)
    }

    /// Every edit, in the order of the input; none where the input was JSON.
    #[getter]
    fn changes(&self) -> Vec<Change> {
        self.changes.iter().map(|&(fix, at)| Change { fix: fix.name(), at }).collect()
    }

    /// How many edits there were beyond those listed.
    #[getter]
    fn changes_omitted(&self) -> usize {
        self.changes_omitted
    }

    /// Whether the document was still open where the text ended.
    #[getter]
    fn cut(&self) -> bool {
        self.cut
    }

    /// The document as Python's objects, read when it is first asked for.
    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let value = self.value.get_or_try_init(py, || read(py, self.text.bind(py)))?;
        Ok(value.clone_ref(py))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Self { changes, changes_omitted, cut, .. } = self;
        let (text, changes) = (self.text.bind(py).repr()?, changes.len() + changes_omitted);
        let cut = if *cut { "True" } else { "False" };
        Ok(format!("Repaired(text={text}, changes: {changes}, cut={cut})"))
    }
}

/// Reads JSON. Pydantic's reader is the quickest there is; what it will not have, the standard library's will: half a
/// surrogate pair, and, as floats, whole numbers with more digits than Python takes.
fn read(py: Python<'_>, json: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
    if let Ok(value) = py.import("pydantic_core")?.call_method1("from_json", (json,)) {
        return Ok(value.unbind());
    }
    let loads = py.import("json")?.getattr("loads")?;
    if let Ok(value) = loads.call1((json,)) {
        return Ok(value.unbind());
    }
    let as_float = PyDict::new(py);
    as_float.set_item("parse_int", py.get_type::<PyFloat>())?;
    Ok(loads.call((json,), Some(&as_float))?.unbind())
}

/// Returns the JSON in a text, repaired where it is broken; a text that is JSON comes back as it is, the same object.
#[pyfunction]
#[pyo3(signature = (text, *, documents = "longest", depth_max = 512))]
pub(crate) fn repair(
    py: Python<'_>,
    text: &Bound<'_, PyString>,
    documents: &str,
    depth_max: usize,
) -> PyResult<Repaired> {
    let documents = match documents {
        "longest" => engine::Documents::Longest,
        "first" => engine::Documents::First,
        "last" => engine::Documents::Last,
        "all" => engine::Documents::All,
        other => {
            let problem = format!("documents must be longest, first, last or all, not {other:?}");
            return Err(PyTypeError::new_err(problem));
        }
    };
    let options = engine::Options { documents, depth_max };
    let given = self::text(text)?;
    let source: &str = &given;
    let repaired = py.detach(|| engine::repair(source, &options)).map_err(|error| {
        Unrepairable::new_err(match error {
            engine::Unrepairable::NoJson => error.to_string(),
            engine::Unrepairable::TooDeep { at } => {
                let at = Characters::of(source).at(at);
                format!("the container at character {at} is nested deeper than {depth_max}")
            }
        })
    })?;
    let mut characters = Characters::of(source);
    let changes = repaired.changes.iter().map(|change| (change.fix, characters.at(change.at))).collect();
    let json = match repaired.text {
        Cow::Borrowed(json) if json.len() == source.len() => text.clone(),
        json => PyString::new(py, &json),
    };
    Ok(Repaired {
        text: json.unbind(),
        changes,
        changes_omitted: repaired.changes_omitted,
        cut: repaired.cut,
        value: PyOnceLock::new(),
    })
}

/// Byte offsets of a text as character offsets. Asked in order, each character is looked at once.
struct Characters<'a> {
    text: &'a str,
    byte: usize,
    character: usize,
}

impl<'a> Characters<'a> {
    const fn of(text: &'a str) -> Self {
        Self { text, byte: 0, character: 0 }
    }

    fn at(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            (self.byte, self.character) = (0, 0);
        }
        self.character += self.text.get(self.byte..byte).map_or(0, |between| between.chars().count());
        self.byte = byte;
        self.character
    }
}

/// The value of a JSON document while it is still being written.
#[pyclass(frozen, module = "l0_core.json")]
pub(crate) struct Partial(Mutex<Growing>);

struct Growing {
    document: engine::Partial,
    value: Value,
}

/// The value as Python's own objects. What was handed out is not changed any more: before the next change, the
/// containers that are still open are copied, and share with the copies all that is closed.
#[derive(Default)]
struct Value {
    root: Option<Container>,
    /// The open containers, outermost first, and the place of each in the one before.
    open: Vec<(Container, Option<Place>)>,
    key: Option<Py<PyString>>,
    /// Where in the innermost container the last value is: an open string grows there.
    last: Option<Place>,
    handed_out: bool,
}

enum Container {
    Object(Py<PyDict>),
    Array(Py<PyList>),
}

enum Place {
    Member(Py<PyString>),
    Item(usize),
}

#[pymethods]
impl Partial {
    #[new]
    #[pyo3(signature = (*, depth_max = 512))]
    fn new(depth_max: usize) -> Self {
        let document = engine::Partial::with_max_depth(depth_max);
        Self(Mutex::new(Growing { document, value: Value::default() }))
    }

    /// Takes the next piece of the text and says whether the value is different now.
    fn feed(&self, delta: &Bound<'_, PyString>) -> PyResult<bool> {
        let delta = text(delta)?;
        Ok(self.lock()?.document.feed(&delta))
    }

    /// The value so far; `None` before the document begins.
    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut growing = self.lock()?;
        let Growing { document, value } = &mut *growing;
        for news in document.drain() {
            value.take(py, news)?;
        }
        value.handed_out = true;
        Ok(value.root.as_ref().map(|root| root.any(py)))
    }

    /// Whether the document is closed.
    #[getter]
    fn is_complete(&self) -> PyResult<bool> {
        Ok(self.lock()?.document.is_complete())
    }

    /// Where the document stands: `empty`, `open`, `complete`, or `invalid` where the reading ended before that.
    #[getter]
    fn status(&self) -> PyResult<&'static str> {
        Ok(match self.lock()?.document.status() {
            engine::Status::Empty => "empty",
            engine::Status::Open => "open",
            engine::Status::Complete => "complete",
            engine::Status::Invalid { .. } => "invalid",
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<Partial {}>", self.status()?))
    }
}

impl Partial {
    /// Building objects may run any code of Python's, which could wait for a lock that is held here.
    fn lock(&self) -> PyResult<MutexGuard<'_, Growing>> {
        self.0.try_lock().map_err(|_| PyRuntimeError::new_err("a Partial is read by one thread at a time"))
    }
}

impl Value {
    fn take(&mut self, py: Python<'_>, news: engine::News<'_>) -> PyResult<()> {
        use engine::News as N;
        if self.handed_out {
            self.part(py)?;
        }
        match news {
            N::Key(key) => self.key = Some(PyString::new(py, &key).unbind()),
            N::BeginObject => self.begin(py, Container::Object(PyDict::new(py).unbind()))?,
            N::BeginArray => self.begin(py, Container::Array(PyList::empty(py).unbind()))?,
            N::End => {
                self.open.pop();
            }
            N::Text(text) => self.put(py, PyString::new(py, &text).into_any())?,
            N::Longer(text) => {
                if let (Some((container, _)), Some(place)) = (self.open.last(), &self.last) {
                    container.set(py, place, PyString::new(py, &text).into_any())?;
                }
            }
            N::Number(number) => self.put(py, self::number(py, number)?)?,
            N::Bool(yes) => self.put(py, yes.into_pyobject(py)?.to_owned().into_any())?,
            N::Null => self.put(py, py.None().into_bound(py))?,
        }
        Ok(())
    }

    fn begin(&mut self, py: Python<'_>, container: Container) -> PyResult<()> {
        let place = if self.root.is_none() {
            self.root = Some(container.clone(py));
            None
        } else {
            self.put(py, container.any(py).into_bound(py))?;
            self.last.take()
        };
        self.open.push((container, place));
        Ok(())
    }

    fn put(&mut self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<()> {
        let Some((container, _)) = self.open.last() else { return Ok(()) };
        self.last = match (container, self.key.take()) {
            (Container::Object(object), Some(key)) => {
                object.bind(py).set_item(&key, value)?;
                Some(Place::Member(key))
            }
            (Container::Array(array), _) => {
                let array = array.bind(py);
                array.append(value)?;
                Some(Place::Item(array.len() - 1))
            }
            (Container::Object(_), None) => None,
        };
        Ok(())
    }

    /// Leaves what was handed out as it is and goes on with copies.
    fn part(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut outer: Option<Container> = None;
        for (container, place) in &mut self.open {
            let copy = container.copied(py)?;
            match (&outer, place) {
                (Some(outer), Some(place)) => outer.set(py, place, copy.any(py).into_bound(py))?,
                _ => self.root = Some(copy.clone(py)),
            }
            outer = Some(copy.clone(py));
            *container = copy;
        }
        self.handed_out = false;
        Ok(())
    }
}

impl Container {
    fn clone(&self, py: Python<'_>) -> Self {
        match self {
            Self::Object(object) => Self::Object(object.clone_ref(py)),
            Self::Array(array) => Self::Array(array.clone_ref(py)),
        }
    }

    fn copied(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(match self {
            Self::Object(object) => Self::Object(object.bind(py).copy()?.unbind()),
            Self::Array(array) => {
                let array = array.bind(py);
                Self::Array(array.get_slice(0, array.len()).unbind())
            }
        })
    }

    fn set(&self, py: Python<'_>, place: &Place, value: Bound<'_, PyAny>) -> PyResult<()> {
        match (self, place) {
            (Self::Object(object), Place::Member(key)) => object.bind(py).set_item(key, value),
            (Self::Array(array), Place::Item(index)) => array.bind(py).set_item(*index, value),
            _ => Ok(()),
        }
    }

    fn any(&self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Object(object) => object.clone_ref(py).into_any(),
            Self::Array(array) => array.clone_ref(py).into_any(),
        }
    }
}

/// A number in JSON's words as Python reads it. A whole number with more digits than Python takes is a float.
fn number<'py>(py: Python<'py>, number: &str) -> PyResult<Bound<'py, PyAny>> {
    if !number.contains(['.', 'e', 'E']) {
        if let Ok(small) = number.parse::<i64>() {
            return Ok(small.into_pyobject(py)?.into_any());
        }
        if let Ok(large) = py.get_type::<PyInt>().call1((number,)) {
            return Ok(large);
        }
    }
    let float = number.parse::<f64>().unwrap_or(f64::NAN);
    Ok(PyFloat::new(py, float).into_any())
}
