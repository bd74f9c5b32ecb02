//go:build !linux

package traffic

import (
	"errors"
	"time"
)

// An alarm is there on Linux only; elsewhere the runtime's timers have to do.
type alarm struct{}

func newAlarm() (*alarm, error) { return nil, errors.ErrUnsupported }

func (a *alarm) until(time.Time) bool { return false }

func (a *alarm) stop() {}
