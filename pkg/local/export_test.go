package local

import "time"

// Clean opens clean to its tests.
func Clean(text string, colours bool) string { return clean(text, colours) }

// Cut opens cut.
func Cut(text string, columns int) string { return cut(text, columns) }

// SetNow makes up the time of the bottom line.
func (p *Printer) SetNow(now func() time.Time) { p.now = now }

// ParseOwner opens parseOwner.
func ParseOwner(text string) (Owner, bool) { return parseOwner(text) }

// FolderPrefix begins the names of runs' folders, which hold OwnerFile and
// perhaps KeptFile.
const (
	FolderPrefix = folderPrefix
	OwnerFile    = ownerFile
	KeptFile     = keptFile
)

// GitDir is the repository of a source.
func (s *Source) GitDir() string { return s.gitDir }
