//! The texts of recorded answers, from the streams that providers sent. They are not part of the project: where they
//! are absent there are none.

use std::path::PathBuf;

use serde_json::Value;

use super::ordinary::Answer;

pub(crate) fn answers() -> Vec<Answer> {
    let mut answers = Vec::new();
    for stream in streams() {
        let Ok(bytes) = std::fs::read(&stream) else {
            continue;
        };
        let stream_text = String::from_utf8_lossy(&bytes);
        let events = stream_text.lines().filter_map(|line| line.strip_prefix("data:"));
        let events = events.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
        let text: String = events.filter_map(|event| delta(&event)).collect();
        if !text.trim().is_empty() {
            let name = stream.file_stem().map(|name| name.to_string_lossy().into_owned());
            answers.push(Answer { name: name.unwrap_or_default(), text });
        }
    }
    answers
}

fn streams() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/wire");
    let mut streams = Vec::new();
    for provider in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let files = std::fs::read_dir(provider.path()).into_iter().flatten().flatten();
        streams.extend(
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "sse")),
        );
    }
    streams.sort();
    streams
}

/// The piece of visible text in one event, in any of the dialects.
fn delta(event: &Value) -> Option<String> {
    let chat = event.pointer("/choices/0/delta/content");
    let message = event.pointer("/delta/text");
    let response = event
        .get("delta")
        .filter(|_| event.get("type").and_then(Value::as_str) == Some("response.output_text.delta"));
    let text = chat.or(message).or(response)?;
    text.as_str().map(str::to_owned)
}
