package report

import "html/template"

// Page parses the text of a page that looks as reports do: their head, with the styles in CSS, their icons and their words for a state.
func Page(text string) (*template.Template, error) { return templates(text) }

// Styles are the styles of reports.
func Styles() template.CSS { return template.CSS(css) }

// Seconds writes a length of time as reports do: "23.5 s", "4 min 10 s".
func Seconds(s float64) string { return seconds(s) }

// Count writes a whole number with commas.
func Count(n int) string { return count(n) }

// Many writes a number of things: "1 drill", "2 drills".
func Many(n int, one, more string) string { return many(n, one, more) }

// Percent writes a share of 1.
func Percent(share float64) string { return percent(share) }

// Escape is text on one line for Markdown and for the HTML in it, so that nothing in it is read as either.
func Escape(s string) string { return md(s) }

// Fenced is text as a block of code of Markdown, without what would make a command look like another one.
func Fenced(s string) string { return fenced(text(s)) }
