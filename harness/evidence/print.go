package evidence

import (
	"bufio"
	"fmt"
	"io"
)

// Print writes a log for people and grep: one line of JSON an event, and the head of the chain as the last line. It
// verifies the chain as Read does; when the log is not whole it prints what is, and returns the error.
func Print(w io.Writer, path string) error {
	out := bufio.NewWriterSize(w, 1<<16)
	var r Reader
	var failed error
	err := r.read(path, countEvents, func(s *segment) bool {
		_, failed = out.Write(s.lines)
		return failed == nil
	})
	if failed == nil && r.head != "" {
		fmt.Fprintf(out, `{"chain":%q}`+"\n", r.head)
	}
	if ferr := out.Flush(); failed == nil {
		failed = ferr
	}
	if failed != nil {
		return fmt.Errorf("print the evidence: %w", failed)
	}
	return err
}
