package traffic

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm wakes one goroutine at given instants.
//
// It is a timerfd(2) in the runtime's poller. The runtime's own timers end an idle process's wait with the resolution
// of epoll_wait, a millisecond, so that the arrivals of a quiet drill would all be late by about that.
type alarm struct {
	file *os.File
	read [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return &alarm{file: os.NewFile(uintptr(fd), "timer")}, nil
}

// until sleeps until an instant. It says false when the alarm has been stopped.
func (a *alarm) until(t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return true
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(wait.Nanoseconds())}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return false
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.TimerfdSettime(int(fd), 0, &at, nil) }); err != nil || set != nil {
		return false
	}
	_, err = a.file.Read(a.read[:])
	return err == nil
}

// stop wakes the goroutine for good.
func (a *alarm) stop() { a.file.Close() }
