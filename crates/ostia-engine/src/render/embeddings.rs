//! `embeddings`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Turn;

const DIMENSIONS: u64 = 64;

/// Without usage.
pub(super) fn plain(turn: &Turn<'_>) -> Value {
    let ask = turn.ask;
    let input = &ask.body["input"];
    let single = [input.clone()];
    let inputs: &[Value] = match input {
        Value::Array(items) if items.iter().all(|item| !item.is_number()) => items,
        _ => &single,
    };
    let dimensions = ask.body["dimensions"].as_u64().unwrap_or(DIMENSIONS);
    let as_text = ask.body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(&input.to_string(), dimensions.clamp(1, 4096));
            let embedding = if as_text {
                encoded(&vector)
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    json!({"object": "list", "data": data, "model": ask.model})
}

/// Little-endian floats, as OpenAI's clients read them.
fn encoded(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
    STANDARD.encode(bytes).into()
}

/// A vector of length 1 that depends only on the text.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    // FNV-1a, then one step of a linear congruential generator per dimension.
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut parts: Vec<f32> = (0..dimensions)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f32::from((state >> 48) as u16) / 32_768.0 - 1.0
        })
        .collect();
    let length = parts.iter().map(|part| part * part).sum::<f32>().sqrt();
    if length > 0.0 {
        parts.iter_mut().for_each(|part| *part /= length);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::vector;

    #[test]
    fn vectors_have_length_one_and_differ() {
        let (one, two) = (vector("one", 64), vector("two", 64));
        let length: f32 = one.iter().map(|part| part * part).sum();
        assert!((length - 1.0).abs() < 1e-3);
        assert_ne!(one, two);
        assert_eq!(one, vector("one", 64));
    }
}
