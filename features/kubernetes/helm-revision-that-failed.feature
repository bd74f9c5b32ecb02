@kubernetes @critical @gate
Feature: Rolling back past a revision of Helm that failed

  The release was deployed at the second try: the first had a tag that is nowhere, and Helm keeps it as a revision.
  The good one is named by its number.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The revision that was good comes back
    When release "v2-second-try" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
