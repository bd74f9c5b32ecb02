@kubernetes @gate
Feature: Rolling back to a revision by its number

  Two changes were made one after the other: a bad release, and what was to mend it in a hurry and does not. The
  good revision is the one before both, and is named.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The first revision comes back
    When release "v2-mended-in-haste" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
