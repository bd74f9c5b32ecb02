package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// The file of production's schema is canonical text without what differs between two installations of the same schema:
// grants, owners and the positions of columns. Its first line is productionMark and the sha256 of the lines after it.
const productionMark = "# backout schema 1 sha256:"

// owner of an object in its line; a view's stands at the end, after a definition that may itself speak of owners.
var (
	owner     = regexp.MustCompile(`(:|,) owner [^ ,]+(,|$)`)
	viewOwner = regexp.MustCompile(` owner [^ ,]+(, not populated)?$`)
)

// Portable is what two installations of the same schema have in common.
func Portable(text string) string {
	var b strings.Builder
	for _, line := range judged(text) {
		if line == "" || strings.HasPrefix(line, "grant ") || strings.HasPrefix(line, "default privileges ") {
			continue
		}
		switch kind, _, _ := strings.Cut(line, " "); kind {
		case "view", "materialised":
			line = viewOwner.ReplaceAllString(line, "$1")
		case "schema", "table", "foreign", "sequence", "function", "procedure", "aggregate", "window", "type", "enum", "domain", "range":
			line = owner.ReplaceAllString(line, "$1$2")
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// WriteProduction writes the file that service.yaml's `production` names.
func WriteProduction(w io.Writer, s Schema) error {
	text := Portable(s.Text)
	_, err := io.WriteString(w, productionMark+digestOf(text)+"\n"+text)
	return err
}

// ReadProduction reads it again. Its text can be compared with Portable of another schema.
func ReadProduction(path string) (string, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read production's schema: %w", err)
	}
	first, text, _ := strings.Cut(string(all), "\n")
	digest, is := strings.CutPrefix(first, productionMark)
	const again = "write it anew with `backout schema --url URL --out FILE`"
	switch {
	case !is:
		return "", errors.New(path + ":1: expected " + productionMark + "..., found something else: " + again)
	case digest != digestOf(text):
		return "", errors.New(path + ": its lines do not give the digest in its first line, so it was changed: " + again)
	}
	return text, nil
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
