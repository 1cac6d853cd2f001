package poll

// Remember is how what was seen of a repository is stored, in a store that
// takes so many bytes.
func Remember(url string, refs map[string]string, limit int) ([]byte, error) {
	return encode(&memory{URL: url, Refs: refs}, limit)
}
