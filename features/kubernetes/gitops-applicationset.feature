@kubernetes @gitops @gate
Feature: Rolling back two services by one commit

  An ApplicationSet makes an Application of each folder of the repository. A commit that changed two services is
  reverted once, and both come back together.

  Background:
    Given the service "awning"
    And 40 journeys per second by 20 users

  Scenario: Both services come back
    When release "v2-new-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
