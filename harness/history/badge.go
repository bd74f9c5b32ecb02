package history

import (
	"html/template"
	"io"
	"unicode/utf8"
)

// badgeSVG has the shape that badges in a README have: two boxes 20 pixels high. The widths of its letters are guessed at
// 6.5 pixels each, and textLength makes them so.
const badgeSVG = `<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="20" role="img" aria-label="{{.Label}}: {{.Message}}"><title>{{.Label}}: {{.Message}}</title><clipPath id="r"><rect width="{{.Width}}" height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="{{.Left}}" height="20" fill="#454d55"/><rect x="{{.Left}}" width="{{.Right}}" height="20" fill="{{.Colour}}"/></g><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="6" y="14" textLength="{{.LeftText}}">{{.Label}}</text><text x="{{.RightAt}}" y="14" textLength="{{.RightText}}">{{.Message}}</text></g></svg>
`

// Badge writes an SVG.
func Badge(w io.Writer, s Summary) error {
	t, err := template.New("badge").Parse(badgeSVG)
	if err != nil {
		return err
	}
	label, message, colour := s.badgeOf()
	width := func(s string) int { return utf8.RuneCountInString(s) * 13 / 2 }
	left, right := width(label)+12, width(message)+12
	return t.Execute(w, map[string]any{"Label": label, "Message": message, "Colour": colour, "Width": left + right, "Left": left, "Right": right,
		"LeftText": left - 12, "RightAt": left + 6, "RightText": right - 12})
}
