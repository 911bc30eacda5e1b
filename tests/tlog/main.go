// Verifies a decision log of Callgate with Go's own transparency log packages, and nothing of Callgate's.
//
//	tlog-verify log DIR KEY          every record, the tiles and the checkpoint
//	tlog-verify flips DIR KEY        flips every bit of every record's file, one after the other: each must be found
//	tlog-verify proof FILE KEY       a proof that brings its record along (c2sp.org/tlog-proof)
//	tlog-verify extends OLD DIR KEY  that the log extends an older checkpoint
//
// KEY is the file with the verifying key. Prints what was verified, or the first fault, and ends with 1.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type checkpoint struct {
	size int64
	root tlog.Hash
}

func verifier(file string) (note.Verifier, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(strings.TrimSpace(string(text)))
}

func openCheckpoint(text []byte, key note.Verifier) (checkpoint, error) {
	opened, err := note.Open(text, note.VerifierList(key))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != key.Name() {
		return checkpoint{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return checkpoint{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return checkpoint{size, root}, err
}

func readCheckpoint(file string, key note.Verifier) (checkpoint, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return checkpoint{}, err
	}
	return openCheckpoint(text, key)
}

// records splits a file of records: their bytes, of which the index is the first field.
func records(file []byte, first int64) ([][]byte, error) {
	if len(file) < 16 || string(file[:8]) != "CGAUDIT1" || binary.LittleEndian.Uint64(file[8:]) != uint64(first) {
		return nil, errors.New("the header is another")
	}
	var found [][]byte
	for rest := file[16:]; len(rest) > 0; {
		if len(rest) < 8 {
			return nil, errors.New("an incomplete frame")
		}
		length, sum := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		if uint64(length) > uint64(len(rest)-8) {
			return nil, errors.New("an incomplete frame")
		}
		record := rest[8 : 8+length]
		if crc32.Checksum(record, castagnoli) != sum {
			return nil, errors.New("a checksum is wrong")
		}
		found = append(found, record)
		rest = rest[8+length:]
	}
	return found, nil
}

// compare holds the records of a file against the leaves of the tree.
func compare(file []byte, first int64, leaves []tlog.Hash) error {
	found, err := records(file, first)
	if err != nil {
		return err
	}
	if len(found) != len(leaves) {
		return fmt.Errorf("%d records instead of %d", len(found), len(leaves))
	}
	for i, record := range found {
		if tlog.RecordHash(record) != leaves[i] {
			return fmt.Errorf("record %d is another", first+int64(i))
		}
	}
	return nil
}

// tiles reads the tiles of a directory. Their paths there have no height, as C2SP tlog-tiles wants it.
type tiles string

func (dir tiles) Height() int { return 8 }

func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil && tile.W < 256 {
			full := tile
			full.W = 256
			path = strings.Replace(full.Path(), "tile/8/", "tile/", 1)
			data, err = os.ReadFile(filepath.Join(string(dir), path))
			if err == nil {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}

func reader(dir string, at checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: at.size, Hash: at.root}, tiles(filepath.Join(dir, "tree")))
}

// leaves reads the leaves of the tree; the reader verifies every tile against the root.
func leaves(dir string, at checkpoint) ([]tlog.Hash, error) {
	var indexes []int64
	for n := int64(0); n < at.size; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	return reader(dir, at).ReadHashes(indexes)
}

type segment struct {
	first   int64
	content []byte
}

func segments(dir string) ([]segment, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "segments", "*.log"))
	if err != nil {
		return nil, err
	}
	sort.Strings(paths)
	var found []segment
	for _, path := range paths {
		first, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found = append(found, segment{first, content})
	}
	return found, nil
}

// verifyLog verifies a log whose last checkpoint covers all records, and gives its files and leaves.
func verifyLog(dir string, key note.Verifier) ([]segment, []tlog.Hash, error) {
	at, err := readCheckpoint(filepath.Join(dir, "tree", "checkpoint"), key)
	if err != nil {
		return nil, nil, err
	}
	hashes, err := leaves(dir, at)
	if err != nil {
		return nil, nil, err
	}
	files, err := segments(dir)
	if err != nil {
		return nil, nil, err
	}
	next := int64(0)
	for i, file := range files {
		end := at.size
		if i+1 < len(files) {
			end = files[i+1].first
		}
		if file.first != next || end < next || end > at.size {
			return nil, nil, fmt.Errorf("a file begins at %d instead of %d", file.first, next)
		}
		if err := compare(file.content, file.first, hashes[next:end]); err != nil {
			return nil, nil, err
		}
		next = end
	}
	if next != at.size {
		return nil, nil, fmt.Errorf("the log ends after %d of %d records", next, at.size)
	}
	return files, hashes, nil
}

func flips(dir string, key note.Verifier) (string, error) {
	files, hashes, err := verifyLog(dir, key)
	if err != nil {
		return "", err
	}
	count := 0
	for i, file := range files {
		end := int64(len(hashes))
		if i+1 < len(files) {
			end = files[i+1].first
		}
		for bit := 0; bit < len(file.content)*8; bit++ {
			file.content[bit/8] ^= 1 << (bit % 8)
			if compare(file.content, file.first, hashes[file.first:end]) == nil {
				return "", fmt.Errorf("bit %d of the file at %d was not found", bit, file.first)
			}
			file.content[bit/8] ^= 1 << (bit % 8)
			count++
		}
	}
	return fmt.Sprintf("%d flipped bits found", count), nil
}

func proof(file string, key note.Verifier) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	head, signed, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("not a proof with a record")
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return "", err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return "", err
	}
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		hashes = append(hashes, hash)
	}
	at, err := openCheckpoint([]byte(signed), key)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(hashes, at.size, at.root, index, tlog.RecordHash(record)); err != nil {
		return "", err
	}
	return fmt.Sprintf("record %d of %d is in the log", index, at.size), nil
}

func extends(old, dir string, key note.Verifier) (string, error) {
	before, err := readCheckpoint(old, key)
	if err != nil {
		return "", err
	}
	now, err := readCheckpoint(filepath.Join(dir, "tree", "checkpoint"), key)
	if err != nil {
		return "", err
	}
	hashes, err := tlog.ProveTree(now.size, before.size, reader(dir, now))
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(hashes, now.size, now.root, before.size, before.root); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records extend %d", now.size, before.size), nil
}

func run(words []string) (string, error) {
	if len(words) < 3 {
		return "", errors.New("usage: tlog-verify log|flips|proof|extends … KEY")
	}
	key, err := verifier(words[len(words)-1])
	if err != nil {
		return "", err
	}
	switch {
	case words[0] == "log" && len(words) == 3:
		_, hashes, err := verifyLog(words[1], key)
		return fmt.Sprintf("%d records are as they were logged", len(hashes)), err
	case words[0] == "flips" && len(words) == 3:
		return flips(words[1], key)
	case words[0] == "proof" && len(words) == 3:
		return proof(words[1], key)
	case words[0] == "extends" && len(words) == 4:
		return extends(words[1], words[2], key)
	}
	return "", errors.New("usage: tlog-verify log|flips|proof|extends … KEY")
}

func main() {
	told, err := run(os.Args[1:])
	if err != nil {
		fmt.Println("fault:", err)
		os.Exit(1)
	}
	fmt.Println(told)
}
