package evidence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"
)

// Tail reads a log that somebody else is still writing, a segment at a time as they come, and verifies the chain on the way.
// It is not safe for concurrent use.
type Tail struct {
	path   string
	offset int64 // of the first segment that was not read
	number int   // of the last segment that was read
	prev   string
	last   int64
	closed bool
	z      *zstd.Decoder
	d      decoder
}

// NewTail begins at the start of a log, which need not be there yet.
func NewTail(path string) (*Tail, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSegment))
	if err != nil {
		return nil, fmt.Errorf("follow the evidence log %s: %w", path, err)
	}
	return &Tail{path: path, z: z}, nil
}

// Next is what has been written since the last call, none when that is no whole segment. The error is an *EditedError when
// the log is not one that only grew.
func (t *Tail) Next() (events []Event, err error) {
	file, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) && t.number == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("follow the evidence log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("follow the evidence log: %w", err)
	}
	edited := func(why string) error {
		return &EditedError{Path: t.path, Segment: t.number + 1, Offset: t.offset, Last: t.last, Why: why}
	}
	if info.Size() < t.offset {
		return nil, edited("it has become shorter")
	}
	split := &splitter{in: bufio.NewReader(io.NewSectionReader(file, t.offset, info.Size()-t.offset)), offset: t.offset, size: info.Size(), number: t.number}
	for {
		s, err := split.next()
		if broken := (*frameError)(nil); errors.As(err, &broken) && !split.whole || err == io.EOF {
			return events, nil // what is not whole is still being written
		} else if errors.As(err, &broken) {
			return events, edited(broken.why)
		}
		if err != nil {
			return events, fmt.Errorf("follow the evidence log %s: %w", t.path, err)
		}
		s.unpack(t.z, nil, &t.d, decodeEvents)
		switch {
		case s.err != nil:
			return events, edited(s.err.Error())
		case s.header.Segment != t.number+1 || s.header.Prev != t.prev:
			return events, edited(fmt.Sprintf("segment %d after %q is in the place of segment %d after %q", s.header.Segment, s.header.Prev, t.number+1, t.prev))
		case t.closed:
			return events, edited("it stands after the end of the log")
		case s.count > 0 && s.first != t.last+1:
			return events, edited(fmt.Sprintf("it begins with event %d, not %d", s.first, t.last+1))
		}
		events = append(events, s.events...)
		t.offset, t.number, t.prev, t.closed = split.offset, t.number+1, s.hash, s.header.Closed
		t.last += s.count
	}
}

// Closed says whether the writer has closed the log: nothing more comes.
func (t *Tail) Closed() bool { return t.closed }

// Close ends the tail.
func (t *Tail) Close() { t.z.Close() }
