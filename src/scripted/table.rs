//! The next-token table: states, where each leads, and the ids of the vocabulary.

/// A logit that no repetition penalty, window or temperature makes likely: every token that a
/// state does not lead to.
pub(super) const FLOOR: f32 = -100.0;

/// Tokens that every scripted checkpoint has, before the 256 byte tokens and those of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reserved {
    EndOfText,
    MessageStart,
    /// Ends a message, and is the end of a sequence.
    MessageEnd,
    Think,
    ThinkEnd,
    ToolCall,
    ToolCallEnd,
    /// Ends a prompt whose last message is a tool's result.
    ToolTurn,
    System,
    User,
    Assistant,
    BlankLine,
}

impl Reserved {
    /// In the order of their ids, which are their positions.
    pub(super) const ALL: [Self; 12] = [
        Self::EndOfText,
        Self::MessageStart,
        Self::MessageEnd,
        Self::Think,
        Self::ThinkEnd,
        Self::ToolCall,
        Self::ToolCallEnd,
        Self::ToolTurn,
        Self::System,
        Self::User,
        Self::Assistant,
        Self::BlankLine,
    ];
    /// Those that a state may speak; each has one id, so at most one state may.
    pub(super) const SPOKEN: [Self; 4] = [
        Self::Think,
        Self::ThinkEnd,
        Self::ToolCall,
        Self::ToolCallEnd,
    ];
    /// Those that only a prompt may hold.
    pub(super) const UNSPOKEN: [Self; 4] = [
        Self::EndOfText,
        Self::MessageStart,
        Self::MessageEnd,
        Self::ToolTurn,
    ];
    /// The id of the token for the byte 0.
    pub(super) const FIRST_BYTE_ID: u32 = Self::ALL.len() as u32;
    /// The id of the first token that belongs to a state.
    pub(super) const FIRST_STATE_ID: u32 = Self::FIRST_BYTE_ID + 256;

    /// What it is called in prompts and answers.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::EndOfText => "<|endoftext|>",
            Self::MessageStart => "<|im_start|>",
            Self::MessageEnd => "<|im_end|>",
            Self::Think => "<think>",
            Self::ThinkEnd => "</think>",
            Self::ToolCall => "<tool_call>",
            Self::ToolCallEnd => "</tool_call>",
            Self::ToolTurn => "<|tool_turn|>",
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::BlankLine => "\n\n",
        }
    }

    /// Its id.
    pub(super) const fn id(self) -> u32 {
        self as u32
    }

    /// Whether decoders may hide it.
    pub(super) fn is_special(self) -> bool {
        Self::UNSPOKEN.contains(&self)
    }
}

/// What a state's token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A text; the token is the state's own, whatever other states say.
    Own(String),
    /// A reserved token.
    Reserved(Reserved),
}

/// Where a token leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A state, by its index.
    State(usize),
    /// The end of the sequence.
    End,
}

/// One state: one token, and the logits of what follows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) word: Word,
    /// Distinct targets, at least one, with their logits; everything else has [`FLOOR`].
    pub(super) next: Vec<(Target, f32)>,
}

impl State {
    /// The logit of the likeliest token behind a state, unless its escape needs another.
    pub(super) const LOGIT: f32 = 20.0;
}

/// All states, and where a prompt leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    pub(super) states: Vec<State>,
    /// The state after a prompt, and after an end that was ignored.
    pub(super) start: usize,
    /// The state after a prompt that ends with a tool's result.
    pub(super) after_tool: usize,
}

impl Graph {
    /// States whose token is their own.
    pub(super) fn own_tokens(&self) -> usize {
        let own = |state: &&State| matches!(state.word, Word::Own(_));
        self.states.iter().filter(own).count()
    }

    /// The id of each state's token.
    pub(super) fn ids(&self) -> Vec<u32> {
        let mut next = Reserved::FIRST_STATE_ID;
        let id = |state: &State| match state.word {
            Word::Reserved(reserved) => reserved.id(),
            Word::Own(_) => {
                next += 1;
                next - 1
            }
        };
        self.states.iter().map(id).collect()
    }

    /// Every token, by id.
    pub(super) fn vocabulary(&self) -> Vec<Entry<'_>> {
        let reserved = Reserved::ALL.into_iter().map(Entry::Reserved);
        let bytes = (0..=u8::MAX).map(Entry::Byte);
        let own = self.states.iter().filter_map(|state| match &state.word {
            Word::Own(text) => Some(Entry::Own(text)),
            Word::Reserved(_) => None,
        });
        reserved.chain(bytes).chain(own).collect()
    }
}

/// One token of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Reserved(Reserved),
    Byte(u8),
    Own(&'a str),
}
