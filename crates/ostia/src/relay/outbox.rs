use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Larger pieces leave as slices of what was received. Smaller ones are put together, because each frame costs more than
/// the copy: the framing of a chunk, and a turn through every layer below.
const SMALL: usize = 1024;
/// So much of them makes one frame.
const FRAME: usize = 16 * 1024;

/// Pieces of a stream that wait to be handed over, in order. A piece that waits alone is never copied.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    /// Small pieces behind the frames.
    small: BytesMut,
    length: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.length += piece.len();
        if self.frames.is_empty() || piece.len() > SMALL {
            self.close();
            return self.frames.push_back(piece);
        }
        self.small.extend_from_slice(&piece);
        if self.small.len() >= FRAME {
            self.close();
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.frames.is_empty() {
            self.close();
        }
        let frame = self.frames.pop_front()?;
        self.length -= frame.len();
        Some(frame)
    }

    /// Takes all that another one holds.
    pub(super) fn append(&mut self, other: &mut Self) {
        while let Some(frame) = other.pop() {
            self.push(frame);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.frames.push_back(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(outbox: &mut Outbox) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    #[test]
    fn what_waits_alone_is_not_copied_and_small_pieces_leave_together() {
        let mut outbox = Outbox::default();
        let first = Bytes::from_static(b"data: 1\n\n");
        outbox.push(first.clone());
        assert_eq!(outbox.pop().unwrap().as_ptr(), first.as_ptr());
        assert!(outbox.is_empty());

        let large = Bytes::from(vec![b'x'; SMALL + 1]);
        for piece in [&first, &first, &first, &large, &first] {
            outbox.push(piece.clone());
        }
        assert_eq!(outbox.len(), 4 * first.len() + large.len());
        let sizes: Vec<_> = all(&mut outbox).iter().map(Bytes::len).collect();
        assert_eq!(sizes, [9, 18, SMALL + 1, 9]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn many_pieces_are_few_frames_in_the_same_order() {
        let mut outbox = Outbox::default();
        let pieces: Vec<Bytes> = (0..10_000).map(|at| format!(":{at}\n\n").into()).collect();
        for piece in &pieces {
            outbox.push(piece.clone());
        }
        let mut behind = Outbox::default();
        behind.push(Bytes::from_static(b"end"));
        outbox.append(&mut behind);
        let frames = all(&mut outbox);
        assert!(frames.len() < 10, "{}", frames.len());
        assert_eq!(frames.concat(), [pieces.concat(), b"end".to_vec()].concat());
    }
}
