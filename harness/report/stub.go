package report

import (
	"errors"
	"io"
)

var errLater = errors.New("this format is not written yet")

func HTML(w io.Writer, m *Model) error     { return errLater }
func JUnit(w io.Writer, m *Model) error    { return errLater }
func Markdown(w io.Writer, m *Model) error { return errLater }
func SetHTML(w io.Writer, s Set) error     { return errLater }
func SetJUnit(w io.Writer, s Set) error    { return errLater }
func SetMarkdown(w io.Writer, s Set) error { return errLater }
