//! What is asked for at once.

/// At most 1/TOLERANCE_DIVISOR of a need may be missing: estimates are no better, and a step that is dropped is fetched again.
const TOLERANCE_DIVISOR: u64 = 8;

/// What is needed at a time, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Fetched bytes.
    pub input_bytes: u64,
    /// What decoding them takes: pages, dictionaries, batches.
    pub decoding_bytes: u64,
    /// The parsed head of the file (a footer).
    pub head_bytes: u64,
    /// Messages on their way to the client.
    pub message_bytes: u64,
}

impl Need {
    /// All of it.
    #[must_use]
    pub fn total_bytes(self) -> u64 {
        self.held_bytes().saturating_add(self.message_bytes)
    }

    /// Whether this is enough for what measured to be `measured`. A little less is: it is among the errors of the estimates,
    /// and fetching everything once more would cost more.
    #[must_use]
    pub fn suffices_for(self, measured: Self) -> bool {
        measured.total_bytes() <= self.total_bytes().saturating_add(self.total_bytes() / TOLERANCE_DIVISOR)
    }

    /// The same beside a share that has the head.
    #[must_use]
    pub fn without_head(self) -> Self {
        Self { head_bytes: 0, ..self }
    }

    /// All but the messages.
    #[must_use]
    pub fn held_bytes(self) -> u64 {
        self.input_bytes.saturating_add(self.decoding_bytes).saturating_add(self.head_bytes)
    }
}
