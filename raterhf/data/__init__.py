"""From files of judgements to labels, and from texts to token ids: columns, checks, examples, the renderer."""
