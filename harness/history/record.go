package history

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"gocloud.dev/gcerrors"
)

// Kinds of record.
const (
	Deployment = "deployment"
	Rollback   = "rollback"
)

// Record is a deployment or a rollback in production, told by whoever did it. A drill is none.
type Record struct {
	Format      int       `json:"backout_record"`
	Kind        string    `json:"kind"`
	Service     string    `json:"service"`
	Release     string    `json:"release,omitempty"`
	Environment string    `json:"environment,omitempty"`
	When        time.Time `json:"when"`
	ID          string    `json:"id,omitempty"` // of the event that told it: the same one is kept once
	Generated   bool      `json:"generated,omitempty"`
}

// AddRecord keeps a record. It returns false when it is there already.
func (s *Store) AddRecord(ctx context.Context, r Record) (bool, error) {
	r.Format = Format
	r.When = r.When.UTC()
	text, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	return s.put(ctx, recordsIn+objectName(r.When, r.Service, sum([]byte(r.Kind+" "+r.ID)), text), text)
}

func (s *Store) loadRecords(ctx context.Context, l *Log) error {
	names, err := s.list(ctx, recordsIn, "")
	if err != nil {
		return err
	}
	type found struct {
		record  Record
		damaged *Damaged
	}
	all := make([]found, len(names))
	err = each(len(names), func(i int) error {
		n, ok := parseName(names[i])
		text, err := s.bucket.ReadAll(ctx, recordsIn+names[i])
		r := Record{}
		switch {
		case err != nil && gcerrors.Code(err) != gcerrors.NotFound && ctx.Err() != nil:
			return err
		case err == nil && !ok:
			err = errors.New("expected a name of the form TIME-SERVICE-RECORD-DIGEST.json")
		case err == nil && sum(text) != n.sum:
			err = fmt.Errorf("its text has the digest %s, and its name says %s", sum(text), n.sum)
		case err == nil:
			err = json.Unmarshal(text, &r)
		}
		if err == nil && (r.Format < 1 || r.Format > Format) {
			err = fmt.Errorf("expected backout_record 1 to %d, found %d: it was written by another version of Backout", Format, r.Format)
		}
		if all[i].record = r; err != nil {
			all[i].damaged = &Damaged{recordsIn + names[i], err.Error(), n}
		}
		return nil
	})
	for _, f := range all {
		if f.damaged != nil {
			l.Damaged = append(l.Damaged, *f.damaged)
		} else {
			l.Records = append(l.Records, f.record)
		}
	}
	slices.SortStableFunc(l.Records, func(a, b Record) int { return cmp.Or(a.When.Compare(b.When), strings.Compare(a.Kind, b.Kind)) })
	return err
}

// Rate is rollbacks per deployment. It is not known without records of deployments.
type Rate struct {
	Deployments int      `json:"deployments"`
	Rollbacks   int      `json:"rollbacks"`
	Share       *float64 `json:"share,omitempty"`
}

// Frequency counts what was recorded of a service from one time until another.
func Frequency(records []Record, service string, from, to time.Time) Rate {
	var r Rate
	for _, rec := range records {
		if rec.Service != service || rec.When.Before(from) || rec.When.After(to) {
			continue
		}
		switch rec.Kind {
		case Deployment:
			r.Deployments++
		case Rollback:
			r.Rollbacks++
		}
	}
	if r.Deployments > 0 {
		share := float64(r.Rollbacks) / float64(r.Deployments)
		r.Share = &share
	}
	return r
}

// String is "3 of 41 deployments", or says that nobody recorded any.
func (r Rate) String() string {
	switch {
	case r.Share != nil:
		return fmt.Sprintf("%d of %d deployments", r.Rollbacks, r.Deployments)
	case r.Rollbacks > 0:
		return fmt.Sprintf("unknown: %d rollbacks recorded, no deployment", r.Rollbacks)
	}
	return "unknown"
}

// cdEvent is what is read of a CDEvent: https://github.com/cdevents/spec/blob/v0.4.1/continuous-deployment.md, types
// dev.cdevents.service.deployed, .upgraded and .rolledback of any version; or of the CloudEvent in structured mode that
// carries one as its data (cloudevents-binding.md there).
type cdEvent struct {
	Context struct {
		ID        string    `json:"id"`
		Source    string    `json:"source"`
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"context"`
	Subject struct {
		ID      string `json:"id"`
		Content struct {
			Environment struct {
				ID string `json:"id"`
			} `json:"environment"`
			ArtifactID string `json:"artifactId"`
		} `json:"content"`
	} `json:"subject"`

	SpecVersion string          `json:"specversion"` // of the CloudEvent around it
	Data        json.RawMessage `json:"data"`
}

var cdType = regexp.MustCompile(`^dev\.cdevents\.service\.(deployed|upgraded|rolledback)\.`)

// CDEvents reads deployments and rollbacks from CDEvents, one after another or in a list. Others is how many events were of
// another type. An upgrade of a service is a deployment. The service is the last part of the subject's id.
func CDEvents(in io.Reader) (records []Record, others int, err error) {
	d := json.NewDecoder(in)
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return records, others, nil
		} else if err != nil {
			return nil, 0, fmt.Errorf("read CDEvents: expected JSON after byte %d: %w", d.InputOffset(), err)
		}
		events := []json.RawMessage{raw}
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
			if err := json.Unmarshal(raw, &events); err != nil {
				return nil, 0, fmt.Errorf("read CDEvents: %w", err)
			}
		}
		for _, text := range events {
			r, is, err := cdRecord(text)
			if err != nil {
				return nil, 0, fmt.Errorf("read CDEvents: event %d: %w", len(records)+others+1, err)
			}
			if is {
				records = append(records, r)
			} else {
				others++
			}
		}
	}
}

var serviceForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// ServiceName says what is wrong with the name of a service; nil: nothing is.
func ServiceName(name string) error {
	if !serviceForm.MatchString(name) {
		return fmt.Errorf("expected the name of a service (small letters, digits and _), found %q", name)
	}
	return nil
}

func cdRecord(text []byte) (Record, bool, error) {
	var e cdEvent
	if err := json.Unmarshal(text, &e); err != nil {
		return Record{}, false, err
	}
	if e.SpecVersion != "" && e.Context.Type == "" && len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &e); err != nil {
			return Record{}, false, err
		}
	}
	if e.Context.Type == "" {
		return Record{}, false, errors.New("expected context.type, found none: is it a CDEvent?")
	}
	m := cdType.FindStringSubmatch(e.Context.Type)
	if m == nil {
		return Record{}, false, nil
	}
	name := e.Subject.ID[strings.LastIndexAny(e.Subject.ID, "/:")+1:]
	if err := ServiceName(name); err != nil {
		return Record{}, false, fmt.Errorf("subject.id: %w", err)
	}
	if e.Context.ID == "" || e.Context.Timestamp.IsZero() {
		return Record{}, false, fmt.Errorf("expected context.id and context.timestamp, found %q and %s", e.Context.ID, e.Context.Timestamp)
	}
	r := Record{Kind: Deployment, Service: name, Release: e.Subject.Content.ArtifactID, Environment: e.Subject.Content.Environment.ID,
		When: e.Context.Timestamp, ID: strings.Trim(e.Context.Source+" "+e.Context.ID, " ")}
	if m[1] == "rolledback" {
		r.Kind = Rollback
	}
	return r, true, nil
}
