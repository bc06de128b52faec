//! Tool calls, put together from their fragments.

use serde::{Deserialize, Serialize};

use crate::json::{Scanner, Status};

/// A piece of a tool call as it streams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolFragment {
    /// Which of the answer's calls it belongs to.
    pub index: u32,
    /// The call's id, in the fragment that has it.
    pub id: Option<String>,
    /// The tool's name, in the fragment that has it.
    pub name: Option<String>,
    /// A piece of the arguments' JSON.
    pub args: String,
    /// Whether the provider said that the call ends here.
    pub last: bool,
}

/// A complete tool call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The call's id, where the provider gave one.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments: one complete JSON document, or nothing for a call without any.
    pub args: String,
}

impl ToolCall {
    /// Whether both ask for the same thing: name and arguments, whatever the ids, the spacing and the order of keys.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let read =
            |args: &str| serde_json::from_str::<serde_json::Value>(if args.is_empty() { "{}" } else { args });
        self.name == other.name
            && (self.args == other.args
                || matches!((read(&self.args), read(&other.args)), (Ok(mine), Ok(theirs)) if mine == theirs))
    }
}

/// Tool calls an attempt may hold at most.
const CALLS_MAX: usize = 1_024;

/// The tool calls of one attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToolCalls {
    calls: Vec<Open>,
    /// Whether they are read, and put right, before anybody is given them: until then they may be anything.
    are_read: bool,
}

#[derive(Debug, Clone)]
struct Open {
    index: u32,
    call: ToolCall,
    scanner: Scanner,
    complete: bool,
}

/// The provider's calls are not what calls can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl ToolCalls {
    /// Calls that are read before anybody is given them, or not.
    pub(crate) const fn new(are_read: bool) -> Self {
        Self { calls: Vec::new(), are_read }
    }

    /// All of them, as they arrived, by their indices.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &ToolCall)> {
        self.calls.iter().map(|open| (open.index, &open.call))
    }

    /// Puts other arguments in the place of those of a call.
    pub(crate) fn rewrite(&mut self, index: u32, args: &str) {
        if let Some(open) = self.calls.iter_mut().find(|open| open.index == index) {
            open.scanner = Scanner::new();
            open.scanner.feed(args);
            args.clone_into(&mut open.call.args);
        }
    }

    /// No more fragments will come, and whoever reads the calls takes them as they are.
    pub(crate) fn take_as_they_are(&mut self) {
        for open in &mut self.calls {
            open.complete = true;
        }
    }

    /// Whether any of them is not one complete call.
    pub(crate) fn any_broken(&self) -> bool {
        self.calls.iter().any(|open| !open.is_closed())
    }

    /// Whether the call with this index is complete.
    pub(crate) fn is_complete(&self, index: u32) -> bool {
        self.calls.iter().any(|open| open.index == index && open.complete)
    }

    /// Whether any call has begun and not ended.
    pub(crate) fn any_open(&self) -> bool {
        self.calls.iter().any(|open| !open.complete)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&ToolCall> {
        self.calls.iter().find(|open| open.index == index).map(|open| &open.call)
    }

    /// Takes a fragment in. Another call's fragment completes those whose arguments are closed.
    pub(crate) fn feed(&mut self, fragment: &ToolFragment) -> Result<(), Malformed> {
        let place = self.calls.iter().position(|open| open.index == fragment.index);
        let last = self.calls.len().checked_sub(1);
        if place != last || place.is_none() {
            self.close_finished();
        }
        let open = match place {
            Some(place) => &mut self.calls[place],
            None if self.calls.len() >= CALLS_MAX => return Err(Malformed),
            None => {
                let (call, scanner) = (ToolCall::default(), Scanner::new());
                self.calls.push(Open { index: fragment.index, call, scanner, complete: false });
                let last = self.calls.len() - 1;
                &mut self.calls[last]
            }
        };
        if open.complete {
            if fragment.args.trim().is_empty() {
                return Ok(());
            }
            // Arguments that go on after they were complete were not.
            if !self.are_read {
                return Err(Malformed);
            }
            open.complete = false;
        }
        if let Some(id) = &fragment.id
            && open.call.id.is_none()
        {
            open.call.id = Some(id.clone());
        }
        if let Some(name) = &fragment.name {
            // Some providers send the name whole again and again, some in pieces.
            if open.call.name != *name {
                open.call.name.push_str(name);
            }
        }
        open.call.args.push_str(&fragment.args);
        open.scanner.feed(&fragment.args);
        if fragment.last {
            open.complete = open.is_closed();
        }
        Ok(())
    }

    /// The answer says it has finished: what is closed is complete, and a call without arguments is a call.
    pub(crate) fn finish(&mut self) {
        for open in &mut self.calls {
            open.complete = open.complete || open.is_closed();
        }
    }

    /// No more fragments of what has begun will come: complete is what cannot go on. A call of which only the name has
    /// come may have been cut there.
    pub(crate) fn close_finished(&mut self) {
        for open in &mut self.calls {
            let whole = open.scanner.status() == Status::Complete && !open.call.name.is_empty();
            open.complete = open.complete || whole;
        }
    }
}

impl Open {
    fn is_closed(&self) -> bool {
        // A number is closed by the end only: a copy is asked, so that the scanner can go on if more comes.
        matches!(self.scanner.clone().finish(), Status::Complete | Status::Empty)
            && !self.call.name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(index: u32, name: Option<&str>, args: &str) -> ToolFragment {
        ToolFragment {
            index,
            name: name.map(str::to_owned),
            args: args.to_owned(),
            ..ToolFragment::default()
        }
    }

    #[test]
    fn a_call_is_complete_when_another_begins_or_the_answer_ends() {
        let mut calls = ToolCalls::default();
        calls.feed(&fragment(0, Some("weather"), "{\"city\": \"Pa")).unwrap();
        calls.feed(&fragment(0, None, "ris\"}")).unwrap();
        assert!(!calls.is_complete(0), "more might follow");
        calls.feed(&fragment(1, Some("time"), "")).unwrap();
        assert!(calls.is_complete(0) && !calls.is_complete(1));
        calls.finish();
        assert!(!calls.any_open());
        assert_eq!(calls.get(0).unwrap().args, "{\"city\": \"Paris\"}");
    }

    #[test]
    fn cut_arguments_are_never_complete() {
        let whole = "{\"a\": [1, {\"b\": \"x\\\"y\"}], \"c\": -1.5e3}";
        for cut in 1..whole.len() {
            let mut calls = ToolCalls::default();
            calls.feed(&fragment(0, Some("tool"), &whole[..cut])).unwrap();
            calls.feed(&fragment(1, Some("other"), "")).unwrap();
            calls.finish();
            assert!(!calls.is_complete(0), "{}", &whole[..cut]);
        }
    }

    #[test]
    fn interleaved_fragments_find_their_call() {
        let mut calls = ToolCalls::default();
        calls.feed(&fragment(0, Some("a"), "{\"x\":")).unwrap();
        calls.feed(&fragment(1, Some("b"), "{\"y\":")).unwrap();
        calls.feed(&fragment(0, None, "1}")).unwrap();
        calls.feed(&fragment(1, None, "2}")).unwrap();
        calls.finish();
        assert_eq!(calls.get(0).unwrap().args, "{\"x\":1}");
        assert_eq!(calls.get(1).unwrap().args, "{\"y\":2}");
    }

    #[test]
    fn arguments_after_the_end_are_malformed() {
        let mut calls = ToolCalls::default();
        calls.feed(&fragment(0, Some("a"), "{}")).unwrap();
        calls.feed(&fragment(1, Some("b"), "{}")).unwrap();
        assert_eq!(calls.feed(&fragment(0, None, "{\"x\":1}")), Err(Malformed));
    }

    #[test]
    fn the_same_request_in_other_spacing_is_the_same() {
        let call = |args: &str| ToolCall { id: None, name: "t".into(), args: args.into() };
        assert!(call("{\"a\":1,\"b\":2}").asks_the_same(&call("{ \"b\": 2, \"a\": 1 }")));
        assert!(call("").asks_the_same(&call("{}")));
        assert!(!call("{\"a\":1}").asks_the_same(&call("{\"a\":2}")));
    }
}
