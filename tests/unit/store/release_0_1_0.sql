-- What release 0.1.0 leaves in a database: its tables, as its create_all made them, and a few rows. Frozen.
CREATE SCHEMA IF NOT EXISTS headrace;

CREATE TABLE headrace.batches (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    feed TEXT NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    received BIGINT DEFAULT '0' NOT NULL,
    inserted BIGINT DEFAULT '0' NOT NULL,
    updated BIGINT DEFAULT '0' NOT NULL,
    deleted BIGINT DEFAULT '0' NOT NULL,
    unchanged BIGINT DEFAULT '0' NOT NULL,
    stale BIGINT DEFAULT '0' NOT NULL,
    duplicate BIGINT DEFAULT '0' NOT NULL,
    filtered BIGINT DEFAULT '0' NOT NULL,
    quarantined BIGINT DEFAULT '0' NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    committed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX batches_committed_at ON headrace.batches (committed_at);

CREATE TABLE headrace.positions (
    feed TEXT NOT NULL,
    lane TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    source JSON,
    received BIGINT DEFAULT '0' NOT NULL,
    inserted BIGINT DEFAULT '0' NOT NULL,
    updated BIGINT DEFAULT '0' NOT NULL,
    deleted BIGINT DEFAULT '0' NOT NULL,
    unchanged BIGINT DEFAULT '0' NOT NULL,
    stale BIGINT DEFAULT '0' NOT NULL,
    duplicate BIGINT DEFAULT '0' NOT NULL,
    filtered BIGINT DEFAULT '0' NOT NULL,
    quarantined BIGINT DEFAULT '0' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (feed)
);

CREATE TABLE headrace.quarantine (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    provider TEXT NOT NULL,
    feed TEXT NOT NULL,
    table_name TEXT,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    record BYTEA,
    message BYTEA,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE INDEX quarantine_feed_id ON headrace.quarantine (feed, id);

INSERT INTO headrace.positions (feed, lane, sequence, source, received, inserted, quarantined)
VALUES ('acme.scores', 'a1b2', 42, '{"cursor": "x"}', 50, 40, 10);

INSERT INTO headrace.quarantine (provider, feed, table_name, reason, detail, record, message, received_at)
VALUES ('acme', 'acme.scores', 'matches', 'score: max', 'too many', '{}', '[{}]', '2026-03-01T12:30:00Z');

INSERT INTO headrace.batches (feed, first_sequence, last_sequence, received, inserted, quarantined, seconds)
VALUES ('acme.scores', 1, 42, 50, 40, 10, 0.02);
