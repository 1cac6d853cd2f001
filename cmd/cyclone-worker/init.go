package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// initProcess is what the worker does as process 1 of its container: it
// starts itself as a child, passes signals on, and collects every process that
// lost its parent (the engine leaves shims behind). It returns the child's
// exit code, 128+n when a signal n ended it.
func initProcess() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cyclone-worker: find own program:", err)
		return exitFailed
	}
	// Before the child is there, so that no signal is lost.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	child, err := os.StartProcess(self, os.Args, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "cyclone-worker: start worker:", err)
		return exitFailed
	}
	ended := make(chan int, 1)
	go func() { ended <- reap(child.Pid) }()
	for {
		select {
		case s := <-signals:
			// It may just have ended; then the code is on its way.
			_ = syscall.Kill(child.Pid, s.(syscall.Signal))
		case code := <-ended:
			return code
		}
	}
}

// reap collects ended processes until the child is one, and returns its code.
func reap(child int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return exitFailed
		case pid != child:
		case status.Signaled():
			return 128 + int(status.Signal())
		case status.Exited():
			return status.ExitStatus()
		}
	}
}
